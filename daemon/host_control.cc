#include "daemon/host_control.h"

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "daemon/convert.h"

namespace lastcall {
namespace {

using worker::v1::FromHost;
using worker::v1::ToHost;

// A supervisor that does not read (it was stopped, or is busy) must not hold the host's loop up.
constexpr Duration kNone = Duration::zero();
// The receipt is the last word; it is worth a wait.
constexpr Duration kForReceipt = std::chrono::milliseconds(200);

FromHost ToMessage(uint32_t query, const HostReport& report) {
  FromHost message;
  worker::v1::Report& out = *message.mutable_report();
  out.set_query_id(query);
  out.set_stage(std::string(Name(report.stage)));
  for (const ServerReport& server : report.servers) {
    worker::v1::ServerReport& one = *out.add_servers();
    one.set_name(server.name);
    one.set_serving(server.serving);
    one.set_accepting(server.accepting);
    one.set_calls_in_flight(static_cast<uint32_t>(std::max<int64_t>(0, server.calls_in_flight)));
    one.set_calls_total(server.calls_total);
    one.set_connections(static_cast<uint32_t>(server.connections));
    for (const MethodCount& method : server.methods) {
      worker::v1::MethodReport& count = *one.add_methods();
      count.set_name(method.method);
      count.set_in_flight(static_cast<uint32_t>(std::max<int64_t>(0, method.in_flight)));
      count.set_total(method.total);
    }
  }
  return message;
}

}  // namespace

HostControl::HostControl(Channel channel, Logger& logger)
    : channel_(std::move(channel)), logger_(logger) {
  FromHost hello;
  hello.mutable_hello()->set_version(LASTCALL_VERSION);
  hello.mutable_hello()->set_pid(getpid());
  Send(hello, kNone);
}

std::optional<HostControl::Configuration> HostControl::AwaitConfiguration() {
  for (;;) {
    ToHost order;
    Configuration configuration;
    switch (channel_.TryReceive(order, &configuration.sockets)) {
      case Channel::Received::kNothingYet:
        channel_.WaitReadable();
        continue;
      case Channel::Received::kYes:
        if (!order.has_configure()) continue;
        configuration.message = std::move(*order.mutable_configure());
        return configuration;
      case Channel::Received::kClosed:
      case Channel::Received::kMalformed:
        return std::nullopt;
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
      case Channel::Received::kYes:
        Obey(order);
        break;
      case Channel::Received::kNothingYet:
        channel_.WaitReadable();
        break;
      case Channel::Received::kMalformed:
        logger_.log()(LogLevel::kError, "an order of the supervisor is malformed");
        break;
      case Channel::Received::kClosed:
        return SupervisorIsGone();
    }
  }
}

void HostControl::Obey(const ToHost& order) {
  switch (order.message_case()) {
    // What changes a server is followed by a report, for whoever watches.
    case ToHost::kAccept:
      host_->SetAccepting(order.accept().accept());
      return Report(0);
    case ToHost::kStop:
      return host_->Adopt(PlanOf(order.stop()), RequestsOf(order.stop()), order.stop().replaced());
    case ToHost::kSetDraining:
      host_->SetDraining(order.set_draining().server(), order.set_draining().draining());
      return Report(0);
    case ToHost::kSetLogLevel:
      return logger_.SetLevel(LogLevelNamed(order.set_log_level().level()).value_or(LogLevel::kInfo));
    case ToHost::kQuery:
      return Report(order.query().id());
    case ToHost::kDump:
      return host_->Dump();
    default:
      return;
  }
}

// Nobody would ever stop this process, and a successor of the supervisor would start another.
void HostControl::SupervisorIsGone() {
  Request request;
  request.cause = {.kind = Cause::Kind::kSupervisor, .who = "lastcalld", .reason = "it is gone"};
  request.at = clock_.Now();
  request.wall = clock_.Wall();
  host_->RequestStop(std::move(request));
}

void HostControl::Report(uint32_t query) {
  host_->Inspect([this, query](const HostReport& report) { Send(ToMessage(query, report), kNone); });
}

void HostControl::Making(const std::string& plugin) {
  FromHost message;
  message.mutable_making()->set_what(plugin);
  Send(message, kForReceipt);
}

void HostControl::Ready() {
  FromHost message;
  message.mutable_ready();
  Send(message, kForReceipt);
}

void HostControl::StartFailed(const Error& error) {
  FromHost message;
  message.mutable_start_failed()->set_message(error.message);
  message.mutable_start_failed()->set_configuration(IsConfiguration(error.code));
  Send(message, kForReceipt);
}

void HostControl::StageEntered(Stage) {
  if (host_ != nullptr) Report(0);
}

bool HostControl::TakesRequest(const Request& request) {
  FromHost message;
  *message.mutable_shutdown_requested()->mutable_request() = ToProto({request, false});
  Send(message, kForReceipt);
  return true;
}

void HostControl::LeftBehind(std::vector<UniqueFd> connections) {
  FromHost message;
  message.mutable_left_behind();
  std::vector<int> fds;
  for (const UniqueFd& connection : connections) {
    fds.push_back(connection.get());
    if (fds.size() < Channel::kMaxFds && &connection != &connections.back()) continue;
    Send(message, kForReceipt, fds);
    fds.clear();
  }
}

void HostControl::Finished(const Receipt& receipt) {
  FromHost message;
  *message.mutable_receipt() = ToProto(receipt);
  Send(message, kForReceipt);
}

void HostControl::Send(const FromHost& message, Duration patience, const std::vector<int>& fds) {
  const auto sent = channel_.Send(message, Deadline(After(clock_.Now(), patience)), fds);
  if (sent == Channel::Sent::kFull && !message.has_report()) {
    logger_.log()(LogLevel::kWarning, "the supervisor does not read what this process reports");
  }
}

}  // namespace lastcall
