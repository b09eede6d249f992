// What processes say of their calls, as the admin's callers hear it.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "lastcall/admin/v1/admin.pb.h"
#include "lastcall/host/v1/host.pb.h"

#include <lastcall/base/clock.h>
#include <lastcall/base/result.h>

namespace lastcall {

// A call in flight: "main/3/4711".
struct CallId {
  std::string process;
  uint32_t incarnation = 0;
  uint64_t number = 0;

  std::string text() const;
  // Fails: kInvalidArgument.
  static Result<CallId> Parse(const std::string& text);
};

// What is asked of one incarnation of a process; nothing: it is not asked.
using CallsQuestions = std::function<std::optional<host::v1::CallsQuestion>(
    const std::string& process, uint32_t incarnation)>;

// What was answered. Texts are as the processes have written them.
struct CallsOfProcess {
  std::string process;
  uint32_t incarnation = 0;
  bool complete = false;  // false: it did not answer, or not to the end
  std::vector<host::v1::CallsAnswer> parts;
};
struct CallsAnswers {
  std::vector<CallsOfProcess> processes;
  std::vector<std::string> not_seen_into;  // processes that were not asked, for they cannot be
};

// When it is now, for ages and dates.
struct Moment {
  Instant instant;
  WallTime wall;
};

host::v1::CallFilter ToHostFilter(const admin::v1::CallFilter& filter);

// `names`: with who is at the other end of the calls, and what was said to them.
std::vector<admin::v1::ListCallsResponse> ToListCalls(const CallsAnswers& answers,
                                                      const Moment& now, bool names);
// Fails: kNotFound, kUnavailable.
Result<admin::v1::GetCallResponse> ToGetCall(const CallId& asked, const CallsAnswers& answers,
                                             const Moment& now);
// Fails: kNotFound, where calls were named and none of them is in flight.
Result<admin::v1::CancelCallsResponse> ToCancelCalls(const std::vector<CallId>& asked,
                                                     const CallsAnswers& answers);

}  // namespace lastcall
