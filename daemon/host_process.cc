#include "daemon/host_process.h"

#include <sys/wait.h>

#include <algorithm>
#include <csignal>
#include <utility>

#include <boost/asio/post.hpp>

#include "daemon/convert.h"
#include "daemon/spawn.h"

namespace lastcall {
namespace {

using worker::v1::FromHost;
using worker::v1::ToHost;
using boost::asio::posix::stream_descriptor;

// The host ends itself a little before the supervisor would kill it, so that its last words arrive.
constexpr Duration kMargin = std::chrono::milliseconds(200);

// How long a query may be open before its process is said not to answer: a little less than a status
// waits for it.
constexpr Duration kYoung = std::chrono::milliseconds(400);

Plan ForHost(Plan plan) {
  if (plan.end != kNever) plan.end -= std::min(kMargin, (plan.end - plan.cancel) / 4);
  return plan;
}

worker::v1::ConfigValue ToMessage(const std::string& key, const PluginConfig::Value& value) {
  worker::v1::ConfigValue message;
  message.set_key(key);
  message.set_file(value.file);
  message.set_line(value.line);
  if (const auto* text = std::get_if<std::string>(&value.value)) message.set_text(*text);
  if (const auto* integer = std::get_if<int64_t>(&value.value)) message.set_integer(*integer);
  if (const auto* number = std::get_if<double>(&value.value)) message.set_number(*number);
  if (const auto* boolean = std::get_if<bool>(&value.value)) message.set_boolean(*boolean);
  if (const auto* texts = std::get_if<PluginConfig::Texts>(&value.value)) {
    message.mutable_texts();
    for (const std::string& text : *texts) message.mutable_texts()->add_text(text);
  }
  return message;
}

worker::v1::Limits ToMessage(const Limits& limits) {
  worker::v1::Limits message;
  message.set_connections(limits.connections);
  message.set_streams(limits.streams);
  message.set_message(limits.message);
  message.set_threads(limits.threads);
  message.set_keepalive_s(ToSeconds(limits.keepalive));
  message.set_keepalive_timeout_s(ToSeconds(limits.keepalive_timeout));
  message.set_handshake_s(ToSeconds(limits.handshake));
  return message;
}

}  // namespace

// Held by whatever waits on its descriptors, so that they outlive a wait that was cancelled.
class HostProcess::Life {
 public:
  Life(boost::asio::io_context& loop, Channel ours, Child child)
      : channel(std::move(ours)),
        readable(loop, channel.fd()),
        exited(loop, child.pidfd.Release()) {}
  ~Life() { readable.release(); }

  void Close() {
    boost::system::error_code ignored;
    readable.cancel(ignored);
    exited.cancel(ignored);
  }

  const Channel channel;
  stream_descriptor readable;  // the channel's
  stream_descriptor exited;    // the child's pidfd
  std::deque<ToHost> outbox;   // what the channel had no room for
};

HostProcess::HostProcess(boost::asio::io_context& loop, Options options)
    : loop_(loop), options_(std::move(options)) {}

HostProcess::~HostProcess() {
  if (life_ != nullptr) life_->Close();
}

void HostProcess::Attach(Supervisor& supervisor, size_t member) {
  supervisor_ = &supervisor;
  member_ = member;
}

std::vector<int> HostProcess::Sockets() const {
  std::vector<int> fds;
  for (const auto* listeners : options_.sockets) {
    for (const Listener& listener : *listeners) fds.push_back(listener.fd());
  }
  return fds;
}

ToHost HostProcess::Configuration(uint32_t incarnation) const {
  ToHost message;
  worker::v1::Configure& configure = *message.mutable_configure();
  configure.set_process(options_.name);
  configure.set_incarnation(incarnation);
  configure.set_log_level(options_.log_level());
  configure.set_delay_s(ToSeconds(options_.shutdown.delay));
  configure.set_grace_s(ToSeconds(options_.shutdown.grace));
  configure.set_cancel_s(ToSeconds(options_.shutdown.cancel));
  if (options_.quiet) configure.set_quiet_s(ToSeconds(*options_.quiet));
  const Instant ready_by = After(std::chrono::steady_clock::now(), options_.ready);
  if (ready_by != kNever) {
    const Duration margin = std::min(kMargin, options_.ready / 4);
    configure.set_ready_by_ns((ready_by - margin).time_since_epoch().count());
  }
  for (size_t i = 0; i < options_.servers.size(); ++i) {
    const ServerConfig& server = *options_.servers[i];
    worker::v1::ServerSpec& spec = *configure.add_servers();
    spec.set_name(server.name);
    spec.set_reflection(server.reflection);
    spec.set_draining(options_.draining(server.name));
    *spec.mutable_limits() = ToMessage(server.limits);
    for (const Listener& listener : *options_.sockets[i]) {
      spec.add_sockets()->set_address(listener.address());
    }
    for (const PluginSpec& plugin : server.plugins) {
      worker::v1::PluginSpec& one = *spec.add_plugins();
      one.set_name(plugin.name);
      one.set_path(plugin.path);
      for (const auto& [key, value] : plugin.values) *one.add_config() = ToMessage(key, value);
    }
  }
  return message;
}

void HostProcess::BeginStart(uint32_t incarnation) {
  incarnation_ = incarnation;
  report_.Clear();
  auto pair = Channel::Pair();
  if (!pair) return CannotStart(pair.error().message);
  auto child = Spawn(options_.program, pair->second.fd());
  if (!child) return CannotStart(child.error().message);
  pid_ = child->pid;
  life_ = std::make_shared<Life>(loop_, std::move(pair->first), std::move(*child));
  const ToHost message = Configuration(incarnation);
  if (life_->channel.TrySend(message, Sockets()) != Channel::Sent::kYes) {
    options_.log(LogLevel::kError, "process " + options_.name + ": cannot send its configuration");
    Kill();
  }
  AwaitMessages();
  AwaitExit();
}

// Told like any other answer: later, from the loop.
void HostProcess::CannotStart(const std::string& why) {
  boost::asio::post(loop_, [this, why, incarnation = incarnation_] {
    supervisor_->OnStartFailed(member_, incarnation, Error{Code::kInternal, why});
    supervisor_->OnExited(member_, incarnation, ExitStatus{.code = 127});
  });
}

void HostProcess::Send(ToHost message) {
  if (life_ == nullptr) return;
  life_->outbox.push_back(std::move(message));
  if (life_->outbox.size() == 1) Flush();
}

void HostProcess::Flush() {
  while (!life_->outbox.empty()) {
    if (life_->channel.TrySend(life_->outbox.front()) == Channel::Sent::kFull) {
      life_->readable.async_wait(stream_descriptor::wait_write,
                                 [this, life = life_](const boost::system::error_code& error) {
                                   if (!error && life == life_) Flush();
                                 });
      return;
    }
    life_->outbox.pop_front();
  }
}

void HostProcess::AwaitMessages() {
  life_->readable.async_wait(stream_descriptor::wait_read,
                             [this, life = life_](const boost::system::error_code& error) {
                               if (!error && life == life_ && ReadMessages()) AwaitMessages();
                             });
}

// False: there is nothing more to come.
bool HostProcess::ReadMessages() {
  const auto life = life_;
  for (;;) {
    FromHost message;
    switch (life->channel.TryReceive(message, nullptr)) {
      case Channel::Received::kYes:
        Handle(message);
        break;
      case Channel::Received::kNothingYet:
        return true;
      case Channel::Received::kClosed:
        return false;
      case Channel::Received::kMalformed:
        options_.log(LogLevel::kError,
                     "process " + options_.name + ": sent a malformed message; it is killed");
        Kill();
        return false;
    }
  }
}

void HostProcess::Handle(const FromHost& message) {
  switch (message.message_case()) {
    case FromHost::kHello:
      if (message.hello().version() != LASTCALL_VERSION) {
        supervisor_->OnStartFailed(
            member_, incarnation_,
            Error{Code::kFailedPrecondition,
                  options_.program + " is version " + message.hello().version() +
                      ", lastcalld is " LASTCALL_VERSION "; install both from one build"});
        Kill();
      }
      return;
    case FromHost::kReady:
      return supervisor_->OnReady(member_, incarnation_);
    case FromHost::kStartFailed:
      return supervisor_->OnStartFailed(
          member_, incarnation_,
          Error{message.start_failed().configuration() ? Code::kInvalidArgument : Code::kInternal,
                message.start_failed().message()});
    case FromHost::kReport:
      report_ = message.report();
      if (report_.query_id() == last_query_) Answer();
      if (report_.query_id() == 0) options_.reported();
      return supervisor_->OnStage(member_, incarnation_,
                                  StageNamed(report_.stage()).value_or(Stage::kStarting));
    case FromHost::kShutdownRequested: {
      Request request = FromProto(message.shutdown_requested().request()).request;
      request.at = std::chrono::steady_clock::now();
      return options_.request_stop(std::move(request));
    }
    case FromHost::kReceipt:
      return supervisor_->OnReceipt(member_, incarnation_, FromProto(message.receipt()));
    default:
      return;
  }
}

void HostProcess::AwaitExit() {
  life_->exited.async_wait(stream_descriptor::wait_read,
                           [this, life = life_](const boost::system::error_code& error) {
                             if (!error && life == life_) Exited();
                           });
}

void HostProcess::Exited() {
  ReadMessages();  // its last words are in the channel
  siginfo_t info{};
  waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED);
  const ExitStatus status{.code = info.si_code == CLD_EXITED ? info.si_status : 0,
                          .signal = info.si_code == CLD_EXITED ? 0 : info.si_status};
  life_->Close();
  life_ = nullptr;
  pid_ = 0;
  report_.Clear();
  Answer();
  supervisor_->OnExited(member_, incarnation_, status);
}

void HostProcess::Accept() {
  ToHost message;
  message.mutable_accept();
  Send(std::move(message));
}

void HostProcess::SetDraining(const std::string& server, bool draining) {
  ToHost message;
  message.mutable_set_draining()->set_server(server);
  message.mutable_set_draining()->set_draining(draining);
  Send(std::move(message));
}

void HostProcess::BeginStop(const Plan& plan, const std::vector<Ledger::Entry>& requests) {
  ToHost message;
  *message.mutable_stop() = ToProto(ForHost(plan), requests);
  Send(std::move(message));
}

void HostProcess::Kill() {
  if (pid_ > 0) kill(pid_, SIGKILL);
}

void HostProcess::SetLogLevel(const std::string& level) {
  ToHost message;
  message.mutable_set_log_level()->set_level(level);
  Send(std::move(message));
}

void HostProcess::Dump() {
  ToHost message;
  message.mutable_dump();
  Send(std::move(message));
}

void HostProcess::BeginQuery(std::function<void()> answered) {
  if (life_ == nullptr) return boost::asio::post(loop_, std::move(answered));
  asking_.push_back(std::move(answered));
  // A process that does not answer is asked no second time.
  if (asking_.size() > 1) return;
  asked_ = std::chrono::steady_clock::now();
  ToHost message;
  message.mutable_query()->set_id(++last_query_);
  Send(std::move(message));
}

bool HostProcess::answering() const {
  return asking_.empty() || std::chrono::steady_clock::now() - asked_ < kYoung;
}

void HostProcess::Answer() {
  for (auto& answered : std::exchange(asking_, {})) answered();
}

}  // namespace lastcall
