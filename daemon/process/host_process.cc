#include "daemon/process/host_process.h"

#include <algorithm>
#include <utility>

#include <boost/asio/post.hpp>

#include <lastcall/base/safe_text.h>
#include <lastcall/child/child_process.h>

#include "daemon/process/ended_calls.h"
#include "daemon/process/host_events.h"
#include "wire/configuration_message.h"
#include "wire/convert.h"
#include "wire/host_message.h"

namespace lastcall {
namespace {

using boost::asio::posix::stream_descriptor;
using host::v1::FromHost;
using host::v1::ToHost;

// The host ends itself a little before the supervisor would kill it, so that its last words arrive.
constexpr Duration kMargin = std::chrono::milliseconds(500);

// How long a query may be open before its process is said not to answer: a little less than a status
// waits for it.
constexpr Duration kYoung = std::chrono::milliseconds(400);

// What is read of a host before everybody else has a turn: a moment's work.
constexpr int kMessagesAtATime = 100;
constexpr size_t kBytesAtATime = 1 << 20;

// How many questions about its calls a process that does not answer may owe an answer to before it is
// asked no more.
constexpr size_t kMaxQuestions = 32;

Plan ForHost(Plan plan) {
  if (plan.end != kNever) plan.end -= std::min(kMargin, (plan.end - plan.cancel) / 4);
  return plan;
}

}  // namespace

// The control channel. Held by whatever waits on it, so that it outlives a wait that was cancelled.
class HostProcess::Wire {
 public:
  Wire(boost::asio::io_context& loop, Channel ours)
      : channel(std::move(ours)), readable(loop, channel.fd()) {}
  ~Wire() { readable.release(); }

  void Close() {
    open = false;
    boost::system::error_code ignored;
    readable.cancel(ignored);
  }

  bool open = true;  // false: whoever held this is gone
  const Channel channel;
  stream_descriptor readable;  // the channel's
  std::deque<ToHost> outbox;   // what the channel had no room for
};

HostProcess::HostProcess(boost::asio::io_context& loop, std::shared_ptr<const HostSpec> spec,
                         uint32_t incarnation, HostContext& context, Log log)
    : loop_(loop),
      name_(spec->name),
      spec_(std::move(spec)),
      incarnation_(incarnation),
      context_(context),
      log_(std::move(log)) {
  for (const HostSpec::Served& server : spec_->servers) {
    for (const auto& listener : server.sockets) {
      if (listener->own()) addresses_.insert(listener->address());
    }
  }
}

HostProcess::HostProcess(boost::asio::io_context& loop, std::string name,
                         const state::v1::Host& saved, uint32_t incarnation, HostContext& context,
                         Log log)
    : loop_(loop),
      name_(std::move(name)),
      incarnation_(incarnation),
      context_(context),
      log_(std::move(log)),
      addresses_(saved.addresses().begin(), saved.addresses().end()),
      child_(std::in_place, loop, ChildProcess::Adopt(Child{saved.pid(), UniqueFd(saved.pidfd())})),
      constructing_(saved.constructing()),
      killed_(saved.killed()),
      wire_(std::make_shared<Wire>(loop, Channel(UniqueFd(saved.channel())))),
      report_(saved.report()),
      servers_(ServersIn(report_)),
      last_query_(saved.last_query()),
      last_question_(saved.last_question()) {
  wire_->outbox.assign(saved.outbox().begin(), saved.outbox().end());
}

void HostProcess::Resume(std::shared_ptr<ProcessEvents> events) {
  events_ = std::move(events);
  if (!wire_->outbox.empty()) Flush();
  if (!report_.frozen().empty()) {
    boost::asio::post(
        loop_, [events = events_, why = SafeText(report_.frozen())] { events->Frozen(why); });
  }
  Await();
}

std::optional<SavedProcess> HostProcess::Save() const {
  if (wire_ == nullptr) return std::nullopt;
  state::v1::Host saved;
  saved.set_pid(child_->pid());
  saved.set_pidfd(child_->exited_fd());
  saved.set_channel(wire_->channel.fd());
  saved.set_last_query(last_query_);
  saved.set_last_question(last_question_);
  *saved.mutable_report() = report_;
  saved.set_constructing(constructing_);
  saved.set_killed(killed_);
  for (const std::string& address : addresses_) saved.add_addresses(address);
  for (const ToHost& message : wire_->outbox) *saved.add_outbox() = message;
  return SavedProcess{.state = saved.SerializeAsString(),
                      .descriptors = {child_->exited_fd(), wire_->channel.fd()}};
}

HostProcess::~HostProcess() {
  if (wire_ != nullptr) wire_->Close();
}

std::vector<int> HostProcess::Sockets() const {
  std::vector<int> fds;
  for (const HostSpec::Served& server : spec_->servers) {
    for (const auto& listener : server.sockets) fds.push_back(listener->fd());
  }
  return fds;
}

ToHost HostProcess::Configuration() const {
  ToHost message;
  host::v1::Configure& configure = *message.mutable_configure();
  configure.set_process(name_);
  configure.set_incarnation(incarnation_);
  configure.set_log_level(ToProto(context_.log_level()));
  configure.set_delay_s(ToSeconds(spec_->shutdown.delay));
  configure.set_grace_s(ToSeconds(spec_->shutdown.grace));
  configure.set_cancel_s(ToSeconds(spec_->shutdown.cancel));
  configure.set_frozen_after_s(ToSeconds(spec_->frozen_after));
  if (spec_->quiet) configure.set_quiet_s(ToSeconds(*spec_->quiet));
  const Instant ready_by = After(std::chrono::steady_clock::now(), spec_->ready);
  if (ready_by != kNever) {
    const Duration margin = std::min(kMargin, spec_->ready / 4);
    configure.set_ready_by_ns((ready_by - margin).time_since_epoch().count());
  }
  for (const auto& [server, sockets] : spec_->servers) {
    host::v1::ServerSpec& spec = *configure.add_servers();
    spec.set_name(server.name);
    spec.set_reflection(server.reflection);
    spec.set_draining(context_.IsDraining(server.name));
    *spec.mutable_limits() = ToProto(server.limits);
    Write(server.stalls, spec);
    if (server.tls_pem) {
      spec.mutable_tls()->set_certificate(server.tls_pem->certificate);
      spec.mutable_tls()->set_key(server.tls_pem->key);
      spec.mutable_tls()->set_client_ca(server.tls_pem->client_ca);
    }
    for (const auto& listener : sockets) spec.add_sockets()->set_address(listener->address());
    for (const PluginSpec& plugin : server.plugins) {
      host::v1::PluginSpec& added = *spec.add_plugins();
      added = PluginMessage(plugin.name, plugin.path, plugin.values);
      *added.mutable_offload() = ToProto(plugin.offload);
    }
  }
  return message;
}

// With as many of the sockets as go with it; the others are ahead of it, beside messages that say nothing. There is
// room, for nothing was sent before.
bool HostProcess::SendConfiguration() const {
  constexpr size_t kBeside = Channel::kMaxFds - 1;  // a large message is in a descriptor too
  const std::vector<int> sockets = Sockets();
  auto next = sockets.begin();
  while (static_cast<size_t>(sockets.end() - next) > kBeside) {
    const auto first = std::exchange(next, next + kBeside);
    if (wire_->channel.TrySend(ToHost(), {first, next}) != Channel::Sent::kYes) return false;
  }
  return wire_->channel.TrySend(Configuration(), {next, sockets.end()}) == Channel::Sent::kYes;
}

void HostProcess::BeginStart(std::shared_ptr<ProcessEvents> events) {
  events_ = std::move(events);
  auto pair = Channel::Pair();
  if (!pair) return CannotStart(pair.error().message);
  auto child = ChildProcess::Start({.program = spec_->program,
                                    .arguments = {spec_->program},
                                    .descriptors = {{pair->second.fd(), kControlFd}}});
  if (!child) return CannotStart(child.error().message);
  child_.emplace(loop_, std::move(*child));
  wire_ = std::make_shared<Wire>(loop_, std::move(pair->first));
  if (!SendConfiguration()) {
    log_(LogLevel::kError, "process " + name_ + ": cannot send its configuration");
    Kill();
  }
  spec_ = nullptr;
  Await();
}

void HostProcess::Await() {
  AwaitMessages();
  child_->Begin([this](const ChildEnd& end) { Exited(end.status); });
}

// Told like any other answer: later, from the loop.
void HostProcess::CannotStart(const std::string& why) {
  boost::asio::post(loop_, [events = events_, why] {
    events->StartFailed(Error{Code::kInternal, why});
    events->Exited(ExitStatus{.code = 127});
  });
}

void HostProcess::Send(ToHost message) {
  if (wire_ == nullptr) return;
  allowance_.Ordered();
  wire_->outbox.push_back(std::move(message));
  if (wire_->outbox.size() == 1) Flush();
}

void HostProcess::Flush() {
  while (!wire_->outbox.empty()) {
    if (wire_->channel.TrySend(wire_->outbox.front()) == Channel::Sent::kFull) {
      wire_->readable.async_wait(stream_descriptor::wait_write,
                                 [this, wire = wire_](const boost::system::error_code& error) {
                                   if (!error && wire->open) Flush();
                                 });
      return;
    }
    wire_->outbox.pop_front();
  }
}

void HostProcess::AwaitMessages() {
  wire_->readable.async_wait(stream_descriptor::wait_read,
                             [this, wire = wire_](const boost::system::error_code& error) {
                               if (!error && wire->open && ReadMessages()) AwaitMessages();
                             });
}

// False: there is nothing more to come.
bool HostProcess::ReadMessages() {
  size_t bytes = 0;
  for (int left = kMessagesAtATime; left > 0 && bytes < kBytesAtATime; --left) {
    switch (ReadOne(bytes)) {
      case Channel::Received::kYes: break;
      case Channel::Received::kNothingYet: return true;
      default: return false;
    }
  }
  return true;
}

// Adds the size of what it has read to `bytes`.
Channel::Received HostProcess::ReadOne(size_t& bytes) {
  if (!misconduct_.empty()) return Channel::Received::kRefused;
  const auto wire = wire_;
  FromHost message;
  std::vector<UniqueFd> fds;
  size_t size = 0;
  const auto received =
      wire->channel.TryReceive(message, &fds, [&](size_t its_bytes, size_t descriptors) {
        size = its_bytes;
        return allowance_.TryTake(size, descriptors, std::chrono::steady_clock::now());
      });
  bytes += size;
  if (received == Channel::Received::kMalformed) KillFor("it sent a malformed message");
  if (received == Channel::Received::kRefused) {
    KillFor("it sent more over its control channel than a host may: " +
            (size > kMaxFromHost
                 ? "a message of " + std::to_string(size) + " bytes, where " +
                       std::to_string(kMaxFromHost) + " are the most"
                 : "16 MiB that were not requested, and 1 MiB for each second before"));
  }
  if (received == Channel::Received::kYes && message.has_report() &&
      !IsPlausible(message.report())) {
    KillFor("it sent a report of more servers or methods than a host can have");
    return Channel::Received::kRefused;
  }
  if (received == Channel::Received::kYes && message.has_calls_answer() &&
      !IsPlausible(message.calls_answer())) {
    KillFor("it told of more calls at once than a host does");
    return Channel::Received::kRefused;
  }
  if (received != Channel::Received::kYes) return received;
  if (message.has_left_behind()) context_.LeftBehind(std::move(fds));
  Handle(message);
  return received;
}

void HostProcess::KillFor(const std::string& misconduct) {
  misconduct_ = misconduct;
  log_(LogLevel::kError, "process " + name_ + ": " + misconduct + "; it is killed");
  Kill();
}

void HostProcess::Handle(FromHost& message) {
  switch (message.message_case()) {
    case FromHost::kHello:
      if (message.hello().version() != LASTCALL_VERSION) {
        events_->StartFailed(
            Error{Code::kFailedPrecondition,
                  "lastcall-host is version " + SafeText(message.hello().version(), kMaxSafeName) +
                      ", lastcalld is " LASTCALL_VERSION "; install both from one build"});
        Kill();
      }
      return;
    case FromHost::kConstructing: constructing_ = SafeText(message.constructing().what()); return;
    case FromHost::kReport:
      Heard(message.report());
      if (report_.query_id() == last_query_) Answer();
      if (report_.query_id() == 0) context_.Reported();
      break;
    case FromHost::kCallsAnswer: return Heard(*message.mutable_calls_answer());
    case FromHost::kReady:
    case FromHost::kStartFailed:
    case FromHost::kReceipt: constructing_.clear(); break;
    default: break;
  }
  Tell(message, std::chrono::steady_clock::now(), *events_);
  if (message.has_report() && std::exchange(frozen_, !report_.frozen().empty()) != frozen_) {
    context_.StallsChanged();
  }
}

// A host that ends closes its servers, and has nothing to say of them any more.
void HostProcess::Heard(const host::v1::Report& report) {
  std::vector<ServerView> servers = ServersIn(report);
  context_.Ended(GoneFrom(servers_, servers));
  report_ = report;
  SetServers(std::move(servers));
}

void HostProcess::SetServers(std::vector<ServerView> servers) {
  const uint32_t before = CountStalled(std::exchange(servers_, std::move(servers)));
  if (CountStalled(servers_) != before) context_.StallsChanged();
}

// What its plugins have started and left went with it: a forked child may hold its clients'
// connections open.
void HostProcess::Exited(ExitStatus status) {
  // Its last words are in the channel. A child that it has left may write on; not for long.
  size_t bytes = 0;
  while (ReadOne(bytes) == Channel::Received::kYes) continue;
  status.misconduct = misconduct_;
  wire_->Close();
  wire_ = nullptr;
  context_.Ended(servers_);
  SetServers({});
  Answer();
  for (const auto& [id, open] : std::exchange(open_questions_, {})) {
    if (const auto one = open.listener.lock()) one->NoAnswer();
  }
  if (!constructing_.empty() && !killed_) {
    events_->StartFailed(
        Error{Code::kInternal, constructing_ + " ended the process while it was loaded or made: " +
                                   Describe(status) + "; lastcalld --check tries plugins apart"});
  }
  // Nothing of this process after it: it may go, with all that it holds.
  std::shared_ptr<ProcessEvents>(events_)->Exited(status);
}

// One that hangs is asked no more than so often; and what nobody waits for is not kept for its answer.
void HostProcess::BeginAsk(host::v1::CallsQuestion question,
                           std::weak_ptr<CallsListener> listener) {
  const Instant now = std::chrono::steady_clock::now();
  const bool hangs = open_questions_.size() >= kMaxQuestions &&
                     now - open_questions_.begin()->second.asked > kYoung;
  if (wire_ == nullptr || hangs) {
    return boost::asio::post(loop_, [listener] {
      if (const auto one = listener.lock()) one->NoAnswer();
    });
  }
  question.set_id(++last_question_);
  open_questions_[last_question_] = {now, std::move(listener)};
  ToHost message;
  *message.mutable_calls_question() = std::move(question);
  Send(std::move(message));
}

// Of a question that is not open, or of before this build, nobody hears.
void HostProcess::Heard(host::v1::CallsAnswer& answer) {
  const auto open = open_questions_.find(answer.question_id());
  if (open == open_questions_.end()) return;
  const auto listener = open->second.listener.lock();
  if (answer.complete()) open_questions_.erase(open);
  if (listener != nullptr) listener->Heard(std::move(answer));
}

void HostProcess::Accept(bool accept) {
  ToHost message;
  message.mutable_accept()->set_accept(accept);
  Send(std::move(message));
}

void HostProcess::SetDraining(const std::string& server, bool draining) {
  ToHost message;
  message.mutable_set_draining()->set_server(server);
  message.mutable_set_draining()->set_draining(draining);
  Send(std::move(message));
}

void HostProcess::BeginStop(const Plan& plan, const std::vector<Ledger::Entry>& requests) {
  Stop(plan, requests, false);
}

void HostProcess::BeginRetire(const Plan& plan, const std::vector<Ledger::Entry>& requests) {
  Stop(plan, requests, true);
}

void HostProcess::Stop(const Plan& plan, const std::vector<Ledger::Entry>& requests,
                       bool replaced) {
  ToHost message;
  host::v1::Stop& stop = *message.mutable_stop();
  stop = ToProto(ForHost(plan), requests);
  stop.set_replaced(replaced);
  for (const std::string& address : addresses_) {
    if (!context_.WillBeServed(address, *this)) stop.add_unserved(address);
  }
  Send(std::move(message));
}

void HostProcess::Kill() {
  killed_ = true;
  if (child_) child_->Kill();
}

void HostProcess::SetLogLevel(LogLevel level) {
  ToHost message;
  message.mutable_set_log_level()->set_level(ToProto(level));
  Send(std::move(message));
}

void HostProcess::Dump() {
  ToHost message;
  message.mutable_dump();
  Send(std::move(message));
}

void HostProcess::BeginQuery(std::function<void()> answered) {
  if (wire_ == nullptr) return boost::asio::post(loop_, std::move(answered));
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
