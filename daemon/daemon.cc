#include "daemon/daemon.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <utility>

#include <boost/asio/post.hpp>

#include "daemon/convert.h"

namespace lastcall {
namespace {

// How long a status waits for processes that do not answer.
constexpr auto kQueryPatience = std::chrono::milliseconds(500);
// How often watchers see the calls in flight while stopping.
constexpr auto kRefresh = std::chrono::milliseconds(200);
// How far a stop without end is promised to systemd at a time.
constexpr auto kPromise = std::chrono::seconds(30);
// How long admin callers have to read their last answer.
constexpr auto kAdminGrace = std::chrono::seconds(1);

std::optional<Duration> Given(bool has, double seconds) {
  return has ? std::optional(FromSeconds(seconds)) : std::nullopt;
}

}  // namespace

Daemon::Daemon(Config config, std::string host_program, Logger& logger)
    : config_(std::move(config)),
      host_program_(std::move(host_program)),
      logger_(logger),
      log_(logger.log()),
      started_(clock_.Now()) {}

Daemon::~Daemon() = default;

Result<> Daemon::Bind() {
  Address admin;
  admin.kind = Address::Kind::kUnix;
  admin.path = config_.admin_socket;
  admin.mode = 0600;
  admin.text = "unix:" + admin.path;
  auto admin_socket = Listener::Bind(admin);
  if (!admin_socket) {
    const bool second = admin_socket.error().code == Code::kAlreadyExists;
    return Fail(admin_socket.error().code,
                "admin socket: " + admin_socket.error().message +
                    (second ? " (is another lastcalld running with this configuration?)" : ""));
  }
  admin_socket_ = std::move(*admin_socket);
  admin_address_ = admin_socket_->address();
  for (const ServerConfig& server : config_.servers) {
    std::vector<Listener>& listeners = sockets_.emplace_back();
    for (const Address& address : server.listen) {
      auto listener = Listener::Bind(address);
      if (!listener) {
        return Fail(listener.error().code, "server " + server.name + ": " + listener.error().message);
      }
      listeners.push_back(std::move(*listener));
    }
  }
  return {};
}

void Daemon::MakeProcesses() {
  std::vector<Supervisor::Member> members;
  for (const ProcessConfig& process : config_.processes) {
    HostProcess::Options options;
    options.name = process.name;
    options.program = host_program_;
    options.shutdown = config_.shutdown;
    options.quiet = config_.quiet;
    options.ready = config_.ready;
    options.log = log_;
    options.log_level = [this] { return std::string(Name(logger_.level())); };
    options.draining = [this](const std::string& server) {
      return supervisor_->draining().contains(server);
    };
    options.request_stop = [this](Request request) { supervisor_->OnRequest(std::move(request)); };
    options.reported = [this] { Changed(); };
    Supervisor::Member member{.name = process.name, .restart = process.restart};
    for (size_t i = 0; i < config_.servers.size(); ++i) {
      if (config_.servers[i].process != process.name) continue;
      options.servers.push_back(&config_.servers[i]);
      options.sockets.push_back(&sockets_[i]);
      member.servers.push_back(config_.servers[i].name);
    }
    processes_.push_back(std::make_unique<HostProcess>(loop_, std::move(options)));
    member.process = processes_.back().get();
    members.push_back(std::move(member));
  }
  supervisor_.emplace(Supervisor::Options{config_.shutdown, config_.ready}, std::move(members),
                      clock_, static_cast<SupervisorObserver&>(*this), log_);
  for (size_t i = 0; i < processes_.size(); ++i) processes_[i]->Attach(*supervisor_, i);
}

int Daemon::Run() {
  MakeProcesses();
  auto admin = AdminServer::Start(std::move(*admin_socket_), *this, hub_, clock_, log_);
  if (!admin) {
    Say(LogLevel::kError, admin.error().message);
    return 70;
  }
  admin_ = std::move(*admin);
  std::optional<SignalReader> signals(
      std::in_place, clock_, std::function([this](const ReceivedSignal& signal) {
        Post([this, signal] { supervisor_->OnSignal(signal); });
      }));
  Say(LogLevel::kInfo, "lastcalld " LASTCALL_VERSION " starts, pid " + std::to_string(getpid()) +
                           ", " + admin_address_);
  const auto work = boost::asio::make_work_guard(loop_);
  supervisor_->Start();
  while (!over_) {
    ArmTimer();
    loop_.run_one();
  }
  signals.reset();
  admin_ = nullptr;
  return exit_code_;
}

void Daemon::ArmTimer() {
  const Instant next = supervisor_->next_instant();
  if (next == armed_) return;
  armed_ = next;
  timer_.cancel();
  if (next == kNever) return;
  timer_.expires_at(std::chrono::time_point_cast<std::chrono::steady_clock::duration>(next));
  timer_.async_wait([this](const boost::system::error_code& error) {
    if (error) return;
    armed_ = kNever;
    // Behind everything that has happened already: after a pause of this process both are due.
    Post([this] { supervisor_->OnTick(); });
  });
}

void Daemon::Post(std::function<void()> question) { boost::asio::post(loop_, std::move(question)); }

void Daemon::StageEntered(Stage stage) {
  switch (stage) {
    case Stage::kServing:
      systemd_.Ready(Summary());
      break;
    case Stage::kDelay:
    case Stage::kGrace:
    case Stage::kCancel:
      // From the first request on there is no way back.
      systemd_.Stopping("stopping: " + std::string(Name(stage)));
      PromiseEnd();
      break;
    default:
      break;
  }
  if (IsStopping(stage) && stage != Stage::kStopped) BeginRefresh();
}

// systemd kills what is not over when it was promised. A stop without end is promised bit by bit: as
// long as this loop runs, it does not hang.
void Daemon::PromiseEnd() {
  const Instant now = clock_.Now();
  const Instant end = supervisor_->lifecycle().plan().end;
  const Instant until = After(end == kNever ? now : end, end == kNever ? kPromise : kAdminGrace);
  if (end == kNever ? promised_ - now > kPromise / 2 : until <= promised_) return;
  promised_ = until;
  systemd_.ExtendTimeout(until - now);
}

std::string Daemon::Summary() const {
  return "serving " + std::to_string(config_.servers.size()) +
         (config_.servers.size() == 1 ? " server in " : " servers in ") +
         std::to_string(processes_.size()) + (processes_.size() == 1 ? " process" : " processes");
}

void Daemon::ReloadRequested() {
  Say(LogLevel::kWarning, "SIGHUP: this version cannot reload; nothing has changed. Restart the "
                          "daemon to read the configuration again");
}

void Daemon::DumpRequested() {
  for (const auto& state : supervisor_->members()) {
    Say(LogLevel::kWarning, "dump: process " + state.member.name + " incarnation " +
                                std::to_string(state.incarnation) + " " +
                                std::string(Name(state.phase)) + ", stage " +
                                std::string(Name(state.stage)));
  }
  for (const auto& process : processes_) process->Dump();
}

void Daemon::Changed() {
  if (publish_pending_ || !hub_.HasWatchers()) return;
  publish_pending_ = true;
  Post([this] { Publish(); });
}

void Daemon::Publish() {
  publish_pending_ = false;
  hub_.Publish(MakeStatus());
}

// While stopping, watchers see the calls in flight go down, and systemd that it goes on.
void Daemon::BeginRefresh() {
  refresh_.expires_after(kRefresh);
  refresh_.async_wait([this](const boost::system::error_code& error) {
    if (error || over_) return;
    PromiseEnd();
    if (hub_.HasWatchers()) {
      for (const auto& process : processes_) process->BeginQuery([this] { Changed(); });
      Changed();
    }
    BeginRefresh();
  });
}

void Daemon::Finished(const Receipt& receipt) {
  exit_code_ = receipt.exit_code;
  refresh_.cancel();
  KeepReceipt(receipt);
  Say(receipt.exit_code == 0 ? LogLevel::kInfo : LogLevel::kWarning, receipt.Outcome());
  Say(LogLevel::kInfo, "receipt: " + receipt.ToJson());
  systemd_.Status(receipt.Outcome());
  admin::v1::ReceiptEvent event;
  *event.mutable_receipt() = ToProto(receipt);
  event.set_json(receipt.ToJson());
  hub_.Close(std::move(event));
  Post([this] { EndAdmin(); });
}

// Lets watchers read the receipt, and whoever asked his answer; bounded.
void Daemon::EndAdmin() {
  admin_->BeginRetire([this] { Post([this] { over_ = true; }); });
  refresh_.expires_after(kAdminGrace);
  refresh_.async_wait([this](const boost::system::error_code& error) {
    if (!error) admin_->Cancel();
  });
}

void Daemon::KeepReceipt(const Receipt& receipt) {
  const std::string path = config_.state_dir + "/receipt.json";
  const std::string temporary = path + ".new";
  mkdir(config_.state_dir.c_str(), 0755);
  const UniqueFd fd(open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  const std::string text = receipt.ToJson() + "\n";
  const bool kept = fd && write(fd.get(), text.data(), text.size()) == ssize_t(text.size()) &&
                    rename(temporary.c_str(), path.c_str()) == 0;
  if (kept) return;
  Say(LogLevel::kWarning, "cannot keep the receipt in " + path + ": " + ErrnoText(errno) +
                              "; it is in the log");
  unlink(temporary.c_str());
}

void Daemon::BeginStatus(std::function<void(admin::v1::Status)> answer) {
  // Answers when every process did, or when the patience is over, whichever is first.
  struct Query {
    std::function<void(admin::v1::Status)> answer;
    size_t open;
    boost::asio::steady_timer timer;
  };
  auto query = std::make_shared<Query>(
      Query{std::move(answer), processes_.size(), boost::asio::steady_timer(loop_)});
  const auto finish = [this, query] {
    if (query->answer == nullptr) return;
    std::exchange(query->answer, nullptr)(MakeStatus());
    query->timer.cancel();
  };
  query->timer.expires_after(kQueryPatience);
  query->timer.async_wait([finish](const boost::system::error_code&) { finish(); });
  for (const auto& process : processes_) {
    process->BeginQuery([query, finish] {
      if (--query->open == 0) finish();
    });
  }
}

admin::v1::Status Daemon::MakeStatus() {
  const Instant now = clock_.Now();
  admin::v1::Status status;
  status.set_stage(std::string(Name(supervisor_->stage())));
  status.set_pid(getpid());
  status.set_version(LASTCALL_VERSION);
  status.set_uptime_s(ToSeconds(now - started_));
  status.set_config_file(config_.file);
  status.set_log_level(std::string(Name(logger_.level())));
  const Ledger& ledger = supervisor_->lifecycle().ledger();
  if (!ledger.empty()) *status.mutable_plan() = ToAdmin(ledger.plan(), ledger.entries(), now);
  for (size_t i = 0; i < processes_.size(); ++i) {
    const Supervisor::State& state = supervisor_->members()[i];
    admin::v1::Process& process = *status.add_processes();
    process.set_name(state.member.name);
    process.set_stage(std::string(state.phase == Supervisor::Phase::kWaiting ? "waiting"
                                  : state.phase == Supervisor::Phase::kDown  ? "stopped"
                                                                             : Name(state.stage)));
    process.set_pid(processes_[i]->pid());
    process.set_incarnation(state.incarnation);
    process.set_uptime_s(ToSeconds(now - state.incarnation_began));
    process.set_restarts(state.restarts);
    process.set_last_exit(state.last_failure);
    if (state.phase == Supervisor::Phase::kWaiting) {
      process.set_next_start_in_s(std::max(0.0, ToSeconds(state.until - now)));
    }
    process.set_answering(processes_[i]->answering());
  }
  AddServers(status);
  return status;
}

void Daemon::AddServers(admin::v1::Status& status) {
  for (size_t i = 0; i < config_.servers.size(); ++i) {
    const ServerConfig& config = config_.servers[i];
    admin::v1::Server& server = *status.add_servers();
    server.set_name(config.name);
    server.set_process(config.process);
    for (const Listener& listener : sockets_[i]) server.add_listen(listener.address());
    for (const PluginSpec& plugin : config.plugins) server.add_plugins(plugin.name);
    server.set_health("NOT_SERVING");
    const auto drained = supervisor_->draining().find(config.name);
    if (drained != supervisor_->draining().end()) {
      admin::v1::Draining& draining = *server.mutable_draining();
      Cause by = drained->second.by;
      by.reason.clear();  // told apart
      draining.set_by(Describe(by));
      draining.set_since_s(ToSeconds(clock_.Now() - drained->second.since));
      draining.set_reason(drained->second.by.reason);
    }
    for (const auto& process : processes_) {
      for (const worker::v1::ServerReport& report : process->report().servers()) {
        if (report.name() != config.name) continue;
        if (report.serving()) server.set_health("SERVING");
        server.set_accepting(report.accepting());
        server.set_calls_in_flight(report.calls_in_flight());
        server.set_calls_total(static_cast<double>(report.calls_total()));
        server.set_connections(report.connections());
        for (const worker::v1::MethodReport& method : report.methods()) {
          admin::v1::Method& count = *server.add_methods();
          count.set_name(method.name());
          count.set_in_flight(method.in_flight());
          count.set_total(static_cast<double>(method.total()));
        }
      }
    }
  }
}

admin::v1::ShutdownReply Daemon::Shutdown(const admin::v1::ShutdownRequest& asked,
                                          const Cause& by) {
  Request request;
  request.cause = by;
  request.at = clock_.Now();
  request.wall = clock_.Wall();
  request.delay = Given(asked.has_delay_s(), asked.delay_s());
  request.grace = Given(asked.has_grace_s(), asked.grace_s());
  request.cancel = Given(asked.has_cancel_s(), asked.cancel_s());
  admin::v1::ShutdownReply reply;
  if (asked.dry_run()) {
    Ledger trial = supervisor_->lifecycle().ledger();
    reply.set_moved(trial.Add(request, supervisor_->stage()));
    *reply.mutable_plan() = ToAdmin(trial.plan(), trial.entries(), clock_.Now());
    return reply;
  }
  reply.set_moved(supervisor_->OnRequest(std::move(request)));
  const Ledger& ledger = supervisor_->lifecycle().ledger();
  *reply.mutable_plan() = ToAdmin(ledger.plan(), ledger.entries(), clock_.Now());
  return reply;
}

Result<bool> Daemon::SetDraining(const admin::v1::SetDrainingRequest& request, const Cause& by) {
  return supervisor_->SetDraining(request.server(), request.draining(), by);
}

Result<std::string> Daemon::SetLogLevel(const std::string& name, const Cause& by) {
  const auto level = LogLevelNamed(name);
  if (!level) {
    return Fail(Code::kInvalidArgument,
                "no log level \"" + name + "\"; there are: trace, debug, info, warning, error");
  }
  const std::string previous(Name(logger_.level()));
  logger_.SetLevel(*level);
  for (const auto& process : processes_) process->SetLogLevel(name);
  Say(LogLevel::kInfo, "log level " + previous + " -> " + name + ", asked by " + Describe(by));
  return previous;
}

admin::v1::GetConfigReply Daemon::EffectiveConfig() {
  admin::v1::GetConfigReply reply;
  reply.set_toml(ToToml(config_));
  reply.set_json(ToJson(config_));
  return reply;
}

}  // namespace lastcall
