#include "daemon/process/host_events.h"

#include <utility>

#include <lastcall/base/safe_text.h>

#include "wire/convert.h"

namespace lastcall {

using host::v1::FromHost;

namespace {

// A line for each key that a plugin did not read.
constexpr size_t kMaxStartError = 16 << 10;

}  // namespace

void Tell(const FromHost& message, Instant now, ProcessEvents& events) {
  switch (message.message_case()) {
    case FromHost::kReady: return events.Ready();
    case FromHost::kStartFailed:
      return events.StartFailed(
          Error{message.start_failed().configuration() ? Code::kInvalidArgument : Code::kInternal,
                SafeLines(message.start_failed().message(), kMaxStartError)});
    case FromHost::kReport:
      events.StageReached(FromProto(message.report().stage()).value_or(Stage::kStarting));
      return events.Frozen(SafeText(message.report().frozen()));
    case FromHost::kShutdownRequested: {
      Request request = FromProto(message.shutdown_requested().request()).request;
      request.at = now;
      return events.Requested(std::move(request));
    }
    case FromHost::kReceipt: return events.Reported(FromProto(message.receipt()));
    default: return;
  }
}

std::vector<ServerView> ServersIn(const host::v1::Report& report) {
  std::vector<ServerView> servers;
  for (const host::v1::ServerReport& one : report.servers()) {
    ServerView& server = servers.emplace_back();
    server.name = SafeText(one.name(), kMaxSafeName);
    server.serving = one.serving();
    server.accepting = one.accepting();
    server.calls_in_flight = one.calls_in_flight();
    server.calls_total = one.calls_total();
    server.connections = one.connections();
    server.calls_stalled = one.calls_stalled();
    server.held_by = SafeText(one.held_by());
    for (const host::v1::MethodReport& method : one.methods()) {
      server.methods.push_back(
          {SafeText(method.name(), kMaxSafeName), method.in_flight(), method.total()});
    }
    if (one.has_canary()) {
      CanaryView& canary = server.canary.emplace();
      if (one.canary().has_latency_ns()) canary.latency = Duration(one.canary().latency_ns());
      canary.full = one.canary().full();
      if (one.canary().overdue_since_ns() != 0) {
        canary.overdue_since = FromProto(one.canary().overdue_since_ns());
      }
    }
    for (const host::v1::OffloadReport& offload : one.offloads()) {
      server.offloads.push_back({SafeText(offload.plugin(), kMaxSafeName), offload.threads(),
                                 offload.queue(), offload.busy(), offload.abandoned(),
                                 offload.queued(), offload.most_queued(), offload.begun(),
                                 offload.refused(), offload.late()});
    }
    for (const host::v1::CallReport& call : one.oldest()) {
      server.oldest.push_back({SafeText(call.method(), kMaxSafeName),
                               SafeText(call.peer(), kMaxSafeName), FromProto(call.began_ns()),
                               call.told()});
    }
  }
  return servers;
}

}  // namespace lastcall
