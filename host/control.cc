#include "host/control.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <iterator>
#include <utility>

#include "host/calls_answer.h"
#include "wire/convert.h"
#include "wire/host_message.h"

namespace lastcall {
namespace {

using host::v1::FromHost;
using host::v1::ToHost;

// How long until a full channel is tried again. To be told of room would not do: the kernel tells
// of it when three quarters are free, and a plugin that writes into the channel sees to it that
// they never are.
constexpr auto kRetry = std::chrono::milliseconds(1);

void Add(const OffloadReport& report, host::v1::ServerReport& server) {
  host::v1::OffloadReport& one = *server.add_offloads();
  one.set_plugin(report.plugin);
  one.set_threads(report.limits.threads);
  one.set_queue(report.limits.queue);
  one.set_busy(static_cast<uint32_t>(report.counts.busy));
  one.set_abandoned(static_cast<uint32_t>(report.counts.abandoned));
  one.set_queued(static_cast<uint32_t>(report.counts.queued));
  one.set_most_queued(static_cast<uint32_t>(report.counts.most_queued));
  one.set_begun(report.counts.begun);
  one.set_refused(report.counts.refused);
  one.set_late(report.counts.late);
}

FromHost ToProto(uint32_t query, const HostReport& report) {
  FromHost message;
  host::v1::Report& out = *message.mutable_report();
  out.set_query_id(query);
  out.set_stage(lastcall::ToProto(report.stage));
  out.set_frozen(report.frozen);
  for (const ServerReport& server : report.servers) {
    host::v1::ServerReport& one = *out.add_servers();
    one.set_name(server.name);
    one.set_serving(server.serving);
    one.set_accepting(server.accepting);
    one.set_calls_in_flight(static_cast<uint32_t>(std::max<int64_t>(0, server.calls_in_flight)));
    one.set_calls_total(server.calls_total);
    one.set_connections(static_cast<uint32_t>(server.connections));
    one.set_calls_stalled(static_cast<uint32_t>(server.stalled));
    one.set_held_by(server.held_by);
    for (const MethodCount& method : server.methods) {
      host::v1::MethodReport& count = *one.add_methods();
      count.set_name(method.method);
      count.set_in_flight(static_cast<uint32_t>(std::max<int64_t>(0, method.in_flight)));
      count.set_total(method.total);
    }
    if (server.canary) {
      host::v1::CanaryReport& canary = *one.mutable_canary();
      if (server.canary->latency) canary.set_latency_ns(server.canary->latency->count());
      canary.set_full(server.canary->state == CanaryReport::State::kFull);
      if (server.canary->since) {
        canary.set_overdue_since_ns(lastcall::ToProto(*server.canary->since));
      }
    }
    for (const OffloadReport& offload : server.offloads) Add(offload, one);
    for (const CallInfo& call : server.oldest) {
      host::v1::CallReport& old = *one.add_oldest();
      old.set_method(call.method);
      old.set_peer(call.client());
      old.set_began_ns(lastcall::ToProto(call.began));
      old.set_told(call.told);
    }
  }
  return message;
}

}  // namespace

HostControl::HostControl(Channel channel, Logger& logger, Duration for_last_words)
    : channel_(std::move(channel)),
      logger_(logger),
      for_last_words_(for_last_words),
      wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  FromHost hello;
  hello.mutable_hello()->set_version(LASTCALL_VERSION);
  hello.mutable_hello()->set_pid(getpid());
  Tell(std::move(hello));
}

std::optional<HostControl::Configuration> HostControl::AwaitConfiguration() {
  Configuration configuration;
  for (;;) {
    ToHost order;
    std::vector<UniqueFd> sockets;
    switch (channel_.TryReceive(order, &sockets)) {
      case Channel::Received::kNothingYet: channel_.WaitReadable(); continue;
      case Channel::Received::kYes:
        std::move(sockets.begin(), sockets.end(), std::back_inserter(configuration.sockets));
        if (!order.has_configure()) continue;
        configuration.message = std::move(*order.mutable_configure());
        return configuration;
      case Channel::Received::kClosed:
      case Channel::Received::kMalformed:
      case Channel::Received::kRefused: return std::nullopt;
    }
  }
}

void HostControl::Begin(Host& host) {
  host_ = &host;
  thread_ = std::thread([this] { Obey(); });
}

void HostControl::End() {
  shutdown(channel_.fd(), SHUT_RD);
  thread_.join();
}

void HostControl::Obey() {
  for (;;) {
    ToHost order;
    switch (channel_.TryReceive(order, nullptr)) {
      case Channel::Received::kYes: Obey(order); break;
      case Channel::Received::kNothingYet: AwaitWork(); break;
      case Channel::Received::kMalformed:
      case Channel::Received::kRefused:
        logger_.log()(LogLevel::kError, "an order of the supervisor is malformed");
        break;
      case Channel::Received::kClosed: return SupervisorIsGone();
    }
  }
}

// Blocks: until there may be an order, with the outbox looked after.
void HostControl::AwaitWork() {
  bool all_told = false;
  {
    std::lock_guard lock(mutex_);
    all_told = Flush();
  }
  pollfd both[] = {{channel_.fd(), POLLIN, 0}, {wake_.get(), POLLIN, 0}};
  poll(both, std::size(both), all_told ? -1 : static_cast<int>(kRetry.count()));
  eventfd_t ignored;
  eventfd_read(wake_.get(), &ignored);
}

void HostControl::Obey(const ToHost& order) {
  switch (order.message_case()) {
    // What changes a server is followed by a report, for whoever watches.
    case ToHost::kAccept: host_->SetAccepting(order.accept().accept()); return Report(0);
    case ToHost::kStop:
      return host_->Adopt(
          FromProto(order.stop()), FromProto(order.stop().requests()),
          {.replaced = order.stop().replaced(),
           .unserved = {order.stop().unserved().begin(), order.stop().unserved().end()}});
    case ToHost::kSetDraining:
      host_->SetDraining(order.set_draining().server(), order.set_draining().draining());
      return Report(0);
    case ToHost::kSetLogLevel: return logger_.SetLevel(FromProto(order.set_log_level().level()));
    case ToHost::kQuery: return Report(order.query().id());
    case ToHost::kDump: return host_->Dump();
    case ToHost::kCallsQuestion:
      return Answer(*host_, order.calls_question(),
                    [this](FromHost answer) { Tell(std::move(answer)); });
    default: return;
  }
}

// Nobody would ever stop this process, and a successor of the supervisor would start another.
void HostControl::SupervisorIsGone() {
  host_->RequestStop(RequestNow(
      {.kind = Cause::Kind::kSupervisor, .who = "lastcalld", .reason = "it is gone"}, clock_));
}

void HostControl::Report(uint32_t query) {
  host_->Query([this, query](const HostReport& report) { Tell(ToProto(query, report)); });
}

void HostControl::Constructing(const std::string& plugin) {
  FromHost message;
  message.mutable_constructing()->set_what(plugin);
  Tell(std::move(message));
}

void HostControl::Ready() {
  FromHost message;
  message.mutable_ready();
  Tell(std::move(message));
}

void HostControl::StartFailed(const Error& error) {
  FromHost message;
  message.mutable_start_failed()->set_message(error.message);
  message.mutable_start_failed()->set_configuration(IsConfiguration(error.code));
  TellLast(std::move(message));
}

void HostControl::StageEntered(Stage) {
  if (host_ != nullptr) Report(0);
}

bool HostControl::TakesRequest(const Request& request) {
  FromHost message;
  *message.mutable_shutdown_requested()->mutable_request() = ToProto({request, false});
  Tell(std::move(message));
  return true;
}

void HostControl::StallsChanged() {
  if (host_ != nullptr) Report(0);
}

void HostControl::LeftBehind(std::vector<UniqueFd> connections) {
  FromHost message;
  message.mutable_left_behind();
  for (size_t sent = 0; sent < connections.size();) {
    std::vector<UniqueFd> some;
    while (sent < connections.size() && some.size() < Channel::kMaxFds) {
      some.push_back(std::move(connections[sent++]));
    }
    Tell(message, std::move(some));
  }
}

void HostControl::Finished(const Receipt& receipt) {
  FromHost message;
  *message.mutable_receipt() = ToProto(receipt);
  TellLast(std::move(message));
}

void HostControl::Tell(FromHost message, std::vector<UniqueFd> fds) {
  FitToSupervisor(message);
  std::lock_guard lock(mutex_);
  outbox_.push_back({std::move(message), std::move(fds)});
  if (!Flush()) eventfd_write(wake_.get(), 1);
}

void HostControl::TellLast(FromHost message) {
  Tell(std::move(message));
  const Deadline by(After(clock_.Now(), for_last_words_));
  for (;;) {
    {
      std::lock_guard lock(mutex_);
      if (Flush()) return;
    }
    if (by.Passed(clock_.Now())) break;
    std::this_thread::sleep_for(kRetry);
  }
  logger_.log()(LogLevel::kWarning, "the supervisor does not read what this process reports");
}

bool HostControl::Flush() {
  for (; !outbox_.empty(); outbox_.pop_front()) {
    std::vector<int> fds;
    for (const UniqueFd& fd : outbox_.front().fds) fds.push_back(fd.get());
    if (channel_.TrySend(outbox_.front().message, fds) == Channel::Sent::kFull) return false;
  }
  return true;
}

}  // namespace lastcall
