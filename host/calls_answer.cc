#include "host/calls_answer.h"

#include <memory>
#include <optional>
#include <utility>

#include "wire/convert.h"
#include "wire/host_allowance.h"

namespace lastcall {
namespace {

using host::v1::CallReport;
using host::v1::CallsAnswer;
using host::v1::CallsQuestion;
using host::v1::FromHost;

// Puts the parts of one answer on their way, as far as one answer may go.
class Parts {
 public:
  Parts(uint32_t question, std::function<void(FromHost)> tell)
      : question_(question), tell_(std::move(tell)) {}

  // False: there is no room for another.
  bool Tell(CallsAnswer part) {
    part.set_question_id(question_);
    const size_t bytes = part.ByteSizeLong();
    told_ += bytes;
    FromHost message;
    *message.mutable_calls_answer() = std::move(part);
    tell_(std::move(message));
    // The next is as long as this one, about.
    return told_ + 2 * bytes < kMaxFromHost;
  }

 private:
  const uint32_t question_;
  const std::function<void(FromHost)> tell_;
  size_t told_ = 0;
};

CallFilter FilterIn(const host::v1::CallFilter& message) {
  return {.server = message.server(),
          .method = message.method(),
          .client = message.client(),
          .older = Duration(message.older_ns()),
          .stalled = message.stalled()};
}

CallReport::Kind KindOf(CallKind kind) {
  switch (kind) {
    case CallKind::kUnary: return CallReport::KIND_UNARY;
    case CallKind::kClientStream: return CallReport::KIND_CLIENT_STREAM;
    case CallKind::kServerStream: return CallReport::KIND_SERVER_STREAM;
    case CallKind::kBidiStream: return CallReport::KIND_BIDI_STREAM;
  }
  return CallReport::KIND_UNSPECIFIED;
}

CallReport::Waits WaitsOf(CallWaits waits) {
  switch (waits) {
    case CallWaits::kHandler: return CallReport::WAITS_HANDLER;
    case CallWaits::kInput: return CallReport::WAITS_INPUT;
    case CallWaits::kClient: return CallReport::WAITS_CLIENT;
    case CallWaits::kFinish: return CallReport::WAITS_FINISH;
  }
  return CallReport::WAITS_UNSPECIFIED;
}

CallReport::Cause CauseOf(StallCause cause) {
  switch (cause) {
    case StallCause::kOnCpu: return CallReport::CAUSE_ON_CPU;
    case StallCause::kBlocked: return CallReport::CAUSE_BLOCKED;
    case StallCause::kStarved: return CallReport::CAUSE_STARVED;
    case StallCause::kPaused: return CallReport::CAUSE_PAUSED;
    case StallCause::kClient: return CallReport::CAUSE_CLIENT;
    case StallCause::kInput: return CallReport::CAUSE_INPUT;
    case StallCause::kApplication: return CallReport::CAUSE_APPLICATION;
    case StallCause::kUnknown: break;
  }
  return CallReport::CAUSE_UNSPECIFIED;
}

void Write(const ListedCall& listed, CallReport& report) {
  const CallInfo& call = listed.call;
  report.set_server(listed.server);
  report.set_number(call.number);
  report.set_method(call.method);
  report.set_kind(KindOf(call.kind));
  report.set_peer(call.peer);
  report.set_identity(call.identity);
  report.set_began_ns(ToProto(call.began));
  if (call.deadline != kNever) report.set_deadline_ns(ToProto(call.deadline));
  report.set_received(call.received);
  report.set_sent(call.sent);
  report.set_progressed_ns(ToProto(call.progressed));
  report.set_waits(WaitsOf(call.waits));
  report.set_told(call.told);
  report.set_thread(call.thread);
  report.set_stalled(call.stalled);
  report.set_cause(CauseOf(call.cause));
  report.set_why(call.why);
}

void Write(const std::vector<FinishedCall>& calls,
           google::protobuf::RepeatedPtrField<host::v1::FinishedCallReport>& reports) {
  for (const FinishedCall& call : calls) {
    host::v1::FinishedCallReport& report = *reports.Add();
    report.set_number(call.number);
    report.set_client(call.client);
    report.set_status(call.status);
    report.set_message(call.message);
    report.set_ended_ns(ToProto(call.ended));
    report.set_duration_ns(call.duration.count());
  }
}

void List(Host& host, CallFilter filter, size_t limit, std::shared_ptr<Parts> parts) {
  host.ListCalls(std::move(filter), limit, [parts = std::move(parts)](const CallsPart& part) {
    CallsAnswer answer;
    for (const ListedCall& call : part.calls) Write(call, *answer.add_calls());
    answer.set_complete(part.complete);
    answer.set_left_out(part.left_out);
    return parts->Tell(std::move(answer));
  });
}

void ListFinished(Host& host, CallFilter filter, std::shared_ptr<Parts> parts) {
  host.ListFinishedCalls(std::move(filter), [parts = std::move(parts)](const FinishedPart& part) {
    CallsAnswer answer;
    answer.set_complete(part.complete);
    answer.set_left_out(part.left_out);
    if (!part.complete) {
      host::v1::FinishedReport& report = *answer.add_finished();
      report.set_server(part.server);
      report.set_method(part.method.method);
      report.set_failed(part.method.failed);
      Write(part.method.slowest, *report.mutable_slowest());
      Write(part.method.failures, *report.mutable_failures());
    }
    return parts->Tell(std::move(answer));
  });
}

void Find(Host& host, uint64_t number, std::shared_ptr<Parts> parts) {
  host.FindCall(number, [parts = std::move(parts)](const std::optional<CallDetails>& found) {
    CallsAnswer answer;
    answer.set_complete(true);
    if (found) {
      Write(found->listed, *answer.add_calls());
      for (const std::string& frame : found->stack) answer.add_stack(frame);
      answer.set_no_stack(found->no_stack);
      for (const std::string& line : found->profile) answer.add_profile(line);
    }
    parts->Tell(std::move(answer));
  });
}

void Cancel(Host& host, CallFilter filter, const host::v1::CancelCalls& order,
            std::shared_ptr<Parts> parts) {
  host.CancelCalls({{order.numbers().begin(), order.numbers().end()}, std::move(filter)},
                   order.why(), order.dry_run(),
                   [parts = std::move(parts)](const CallsCancelled& done) {
                     CallsAnswer answer;
                     answer.set_complete(true);
                     answer.set_cancelled(done.cancelled);
                     for (const uint64_t number : done.not_in_flight)
                       answer.add_not_in_flight(number);
                     parts->Tell(std::move(answer));
                   });
}

}  // namespace

void Answer(Host& host, const CallsQuestion& question, std::function<void(FromHost)> tell) {
  auto parts = std::make_shared<Parts>(question.id(), std::move(tell));
  CallFilter filter = FilterIn(question.filter());
  switch (question.what_case()) {
    case CallsQuestion::kList:
      return List(host, std::move(filter), question.list().limit(), std::move(parts));
    case CallsQuestion::kFinished: return ListFinished(host, std::move(filter), std::move(parts));
    case CallsQuestion::kFind: return Find(host, question.find(), std::move(parts));
    case CallsQuestion::kCancel:
      return Cancel(host, std::move(filter), question.cancel(), std::move(parts));
    case CallsQuestion::WHAT_NOT_SET: return;
  }
}

}  // namespace lastcall
