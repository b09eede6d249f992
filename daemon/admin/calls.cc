#include "daemon/admin/calls.h"

#include <algorithm>
#include <charconv>
#include <set>
#include <utility>

#include <lastcall/base/safe_text.h>

namespace lastcall {
namespace {

using host::v1::CallReport;
using host::v1::CallsAnswer;

template <class Number>
bool ParseNumber(std::string_view text, Number* number) {
  const auto end = text.data() + text.size();
  const auto parsed = std::from_chars(text.data(), end, *number);
  return parsed.ec == std::errc() && parsed.ptr == end && !text.empty();
}

std::string Safe(const std::string& text) { return SafeText(text, kMaxSafeName); }

// Whatever number was sent.
double SecondsSince(int64_t instant_ns, const Moment& now) {
  const auto now_ns = static_cast<double>(now.instant.time_since_epoch().count());
  return (now_ns - static_cast<double>(instant_ns)) / 1e9;
}

std::string DateOf(int64_t instant_ns, const Moment& now) {
  constexpr double kYears = 1e9;
  return FormatWallTime(now.wall -
                        FromSeconds(std::clamp(SecondsSince(instant_ns, now), 0.0, kYears)));
}

admin::v1::Call::Kind KindIn(CallReport::Kind kind) {
  switch (kind) {
    case CallReport::KIND_UNARY: return admin::v1::Call::KIND_UNARY;
    case CallReport::KIND_CLIENT_STREAM: return admin::v1::Call::KIND_CLIENT_STREAM;
    case CallReport::KIND_SERVER_STREAM: return admin::v1::Call::KIND_SERVER_STREAM;
    case CallReport::KIND_BIDI_STREAM: return admin::v1::Call::KIND_BIDI_STREAM;
    default: return admin::v1::Call::KIND_UNSPECIFIED;
  }
}

admin::v1::Call::Waits WaitsIn(CallReport::Waits waits) {
  switch (waits) {
    case CallReport::WAITS_HANDLER: return admin::v1::Call::WAITS_HANDLER;
    case CallReport::WAITS_INPUT: return admin::v1::Call::WAITS_INPUT;
    case CallReport::WAITS_CLIENT: return admin::v1::Call::WAITS_CLIENT;
    case CallReport::WAITS_FINISH: return admin::v1::Call::WAITS_FINISH;
    default: return admin::v1::Call::WAITS_UNSPECIFIED;
  }
}

admin::v1::Call::Cause CauseIn(CallReport::Cause cause) {
  switch (cause) {
    case CallReport::CAUSE_ON_CPU: return admin::v1::Call::CAUSE_ON_CPU;
    case CallReport::CAUSE_BLOCKED: return admin::v1::Call::CAUSE_BLOCKED;
    case CallReport::CAUSE_STARVED: return admin::v1::Call::CAUSE_STARVED;
    case CallReport::CAUSE_PAUSED: return admin::v1::Call::CAUSE_PAUSED;
    case CallReport::CAUSE_CLIENT: return admin::v1::Call::CAUSE_CLIENT;
    case CallReport::CAUSE_INPUT: return admin::v1::Call::CAUSE_INPUT;
    case CallReport::CAUSE_APPLICATION: return admin::v1::Call::CAUSE_APPLICATION;
    default: return admin::v1::Call::CAUSE_UNSPECIFIED;
  }
}

admin::v1::Call ToCall(const CallsOfProcess& of, const CallReport& report, const Moment& now,
                       bool names) {
  admin::v1::Call call;
  call.set_id(CallId{of.process, of.incarnation, report.number()}.text());
  call.set_process(of.process);
  call.set_incarnation(of.incarnation);
  call.set_server(Safe(report.server()));
  call.set_method(Safe(report.method()));
  call.set_kind(KindIn(report.kind()));
  if (names) {
    call.set_peer(Safe(report.peer()));
    call.set_identity(Safe(report.identity()));
  }
  call.set_age_s(SecondsSince(report.began_ns(), now));
  if (report.deadline_ns() != 0) {
    call.set_deadline_in_s(-SecondsSince(report.deadline_ns(), now));
  }
  call.set_received(static_cast<double>(report.received()));
  call.set_sent(static_cast<double>(report.sent()));
  call.set_idle_s(SecondsSince(report.progressed_ns(), now));
  call.set_waits_for(WaitsIn(report.waits()));
  call.set_told(report.told());
  call.set_thread(report.thread());
  call.set_stalled(report.stalled());
  call.set_cause(CauseIn(report.cause()));
  call.set_why(Safe(report.why()));
  return call;
}

admin::v1::FinishedCall ToFinished(const CallsOfProcess& of, const host::v1::FinishedReport& method,
                                   const host::v1::FinishedCallReport& report, const Moment& now,
                                   bool names) {
  admin::v1::FinishedCall call;
  call.set_id(CallId{of.process, of.incarnation, report.number()}.text());
  call.set_server(Safe(method.server()));
  call.set_method(Safe(method.method()));
  call.set_status(report.status());
  if (names) {
    call.set_peer(Safe(report.client()));
    call.set_message(Safe(report.message()));
  }
  call.set_duration_s(ToSeconds(Duration(report.duration_ns())));
  call.set_ended_at(DateOf(report.ended_ns(), now));
  return call;
}

admin::v1::FinishedCalls ToFinished(const CallsOfProcess& of,
                                    const host::v1::FinishedReport& method, const Moment& now,
                                    bool names) {
  admin::v1::FinishedCalls calls;
  calls.set_server(Safe(method.server()));
  calls.set_method(Safe(method.method()));
  calls.set_incarnation(of.incarnation);
  calls.set_failed(static_cast<double>(method.failed()));
  for (const auto& one : method.slowest()) {
    *calls.add_slowest() = ToFinished(of, method, one, now, names);
  }
  for (const auto& one : method.failures()) {
    *calls.add_failures() = ToFinished(of, method, one, now, names);
  }
  return calls;
}

// Names of the processes of which something is missing.
template <class Response>
void AddNotAnswering(const CallsAnswers& answers, Response& response) {
  std::set<std::string> names;
  for (const CallsOfProcess& of : answers.processes) {
    if (!of.complete) names.insert(of.process);
  }
  for (const std::string& name : names) response.add_not_answering(name);
}

}  // namespace

std::string CallId::text() const {
  return process + "/" + std::to_string(incarnation) + "/" + std::to_string(number);
}

Result<CallId> CallId::Parse(const std::string& text) {
  CallId id;
  const size_t last = text.rfind('/');
  const size_t first =
      last == 0 || last == std::string::npos ? std::string::npos : text.rfind('/', last - 1);
  const std::string_view view(text);
  if (first == std::string::npos || first == 0 ||
      !ParseNumber(view.substr(first + 1, last - first - 1), &id.incarnation) ||
      !ParseNumber(view.substr(last + 1), &id.number)) {
    return Fail(Code::kInvalidArgument,
                "\"" + SafeText(text, kMaxSafeName) +
                    "\" is not the id of a call, which is like main/3/4711; lastcallctl calls "
                    "lists them");
  }
  id.process = text.substr(0, first);
  return id;
}

host::v1::CallFilter ToHostFilter(const admin::v1::CallFilter& filter) {
  host::v1::CallFilter message;
  message.set_server(filter.server());
  message.set_method(filter.method());
  message.set_client(filter.peer());
  message.set_older_ns(FromSeconds(filter.older_s()).count());
  message.set_stalled(filter.stalled());
  return message;
}

std::vector<admin::v1::ListCallsResponse> ToListCalls(const CallsAnswers& answers,
                                                      const Moment& now, bool names) {
  std::vector<admin::v1::ListCallsResponse> responses;
  double left_out = 0;
  for (const CallsOfProcess& of : answers.processes) {
    for (const CallsAnswer& part : of.parts) {
      left_out += static_cast<double>(part.left_out());
      admin::v1::ListCallsResponse& response = responses.emplace_back();
      for (const auto& call : part.calls()) {
        *response.add_calls() = ToCall(of, call, now, names);
      }
      for (const auto& method : part.finished()) {
        *response.add_finished() = ToFinished(of, method, now, names);
      }
    }
  }
  admin::v1::ListCallsResponse& last = responses.emplace_back();
  last.set_complete(true);
  last.set_left_out(left_out);
  AddNotAnswering(answers, last);
  for (const std::string& process : answers.not_seen_into) last.add_not_seen_into(process);
  return responses;
}

Result<admin::v1::GetCallResponse> ToGetCall(const CallId& asked, const CallsAnswers& answers,
                                             const Moment& now) {
  for (const CallsOfProcess& of : answers.processes) {
    for (const CallsAnswer& part : of.parts) {
      if (part.calls().empty()) continue;
      admin::v1::GetCallResponse response;
      *response.mutable_call() = ToCall(of, part.calls(0), now, true);
      for (const std::string& frame : part.stack()) response.add_stack(SafeText(frame));
      response.set_no_stack(SafeText(part.no_stack()));
      for (const std::string& line : part.profile()) response.add_profile(SafeText(line));
      return response;
    }
    if (!of.complete) {
      return Fail(Code::kUnavailable, "process " + of.process + " does not answer");
    }
  }
  return Fail(Code::kNotFound, "no call " + asked.text() + " is in flight");
}

Result<admin::v1::CancelCallsResponse> ToCancelCalls(const std::vector<CallId>& asked,
                                                     const CallsAnswers& answers) {
  admin::v1::CancelCallsResponse response;
  std::set<std::string> missing;
  for (const CallId& id : asked) missing.insert(id.text());
  const size_t named = missing.size();
  uint64_t cancelled = 0;
  for (const CallsOfProcess& of : answers.processes) {
    std::set<uint64_t> over;
    for (const CallsAnswer& part : of.parts) {
      cancelled += part.cancelled();
      over.insert(part.not_in_flight().begin(), part.not_in_flight().end());
    }
    // Of a process that does not answer nobody knows.
    for (const CallId& id : asked) {
      const bool its = id.process == of.process && id.incarnation == of.incarnation;
      if (its && !over.contains(id.number)) missing.erase(id.text());
    }
  }
  if (!asked.empty() && missing.size() == named) {
    return Fail(Code::kNotFound, asked.size() == 1
                                     ? "no call " + asked.front().text() + " is in flight"
                                     : "none of these calls is in flight");
  }
  response.set_cancelled(static_cast<uint32_t>(cancelled));
  for (const std::string& id : missing) response.add_not_in_flight(id);
  AddNotAnswering(answers, response);
  return response;
}

}  // namespace lastcall
