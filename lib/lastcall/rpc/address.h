// Addresses as a configuration writes them.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <lastcall/base/result.h>

namespace lastcall {

// "127.0.0.1:50051", "[::1]:50051", "localhost:50051", "*:50051" (all of IPv4 and IPv6), port 0 for
// a free one; "unix:/run/shop.sock", with "?mode=0660&group=shop" where wanted.
struct Address {
  enum class Kind { kTcp, kUnix };

  Kind kind = Kind::kTcp;
  std::string host;   // as written, without brackets
  uint16_t port = 0;
  std::string path;   // absolute
  mode_t mode = 0666; // of the unix socket; who may connect
  std::string group;  // empty: the daemon's
  std::string text;   // as written

  // Fails: kInvalidArgument, with what is wrong and an example.
  static Result<Address> Parse(std::string_view text);
};

}  // namespace lastcall
