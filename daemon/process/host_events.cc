#include "daemon/process/host_events.h"

#include <utility>

#include <lastcall/base/safe_text.h>

#include "wire/convert.h"

namespace lastcall {

using worker::v1::FromHost;

namespace {

// A line for each key that a plugin did not read.
constexpr size_t kMaxStartError = 16 << 10;

}  // namespace

void TellSupervisor(const FromHost& message, size_t member, uint32_t incarnation, Instant now,
                    Supervisor& supervisor) {
  switch (message.message_case()) {
    case FromHost::kReady: return supervisor.OnReady(member, incarnation);
    case FromHost::kStartFailed:
      return supervisor.OnStartFailed(
          member, incarnation,
          Error{message.start_failed().configuration() ? Code::kInvalidArgument : Code::kInternal,
                SafeLines(message.start_failed().message(), kMaxStartError)});
    case FromHost::kReport:
      return supervisor.OnStage(member, incarnation,
                                StageNamed(message.report().stage()).value_or(Stage::kStarting));
    case FromHost::kShutdownRequested: {
      Request request = FromProto(message.shutdown_requested().request()).request;
      request.at = now;
      supervisor.OnRequest(std::move(request));
      return;
    }
    case FromHost::kReceipt:
      return supervisor.OnReceipt(member, incarnation, FromProto(message.receipt()));
    default: return;
  }
}

}  // namespace lastcall
