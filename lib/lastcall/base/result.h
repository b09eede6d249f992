// Result<T>: a value or an Error that says what failed, where, and what to do about it.
//
//   Result<int> port = ParsePort(text);
//   if (!port) return tl::unexpected(port.error());
#pragma once

#include <string>
#include <string_view>
#include <utility>

#include <tl/expected.hpp>

namespace lastcall {

// gRPC's canonical codes, with gRPC's numbers.
enum class Code {
  kOk = 0,
  kCancelled = 1,
  kUnknown = 2,
  kInvalidArgument = 3,
  kDeadlineExceeded = 4,
  kNotFound = 5,
  kAlreadyExists = 6,
  kPermissionDenied = 7,
  kResourceExhausted = 8,
  kFailedPrecondition = 9,
  kAborted = 10,
  kOutOfRange = 11,
  kUnimplemented = 12,
  kInternal = 13,
  kUnavailable = 14,
  kDataLoss = 15,
  kUnauthenticated = 16,
};

struct Error {
  Code code = Code::kUnknown;
  std::string message;
};

template <class T = void>
using Result = tl::expected<T, Error>;

inline tl::unexpected<Error> Fail(Code code, std::string message) {
  return tl::unexpected<Error>(Error{code, std::move(message)});
}

// Whether the remedy is in the configuration or in what it names, not in the machine's state.
constexpr bool IsConfiguration(Code code) {
  return code == Code::kInvalidArgument || code == Code::kNotFound ||
         code == Code::kFailedPrecondition;
}

// kInternal with the text of `errno_value` appended: "cannot open /x: No such file or directory".
tl::unexpected<Error> FailErrno(std::string_view what, int errno_value);

// "No such file or directory"; thread-safe, unlike strerror(3).
std::string ErrnoText(int errno_value);

}  // namespace lastcall
