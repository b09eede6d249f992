#include "daemon/daemon.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <thread>
#include <utility>

#include <boost/asio/post.hpp>

#include <lastcall/base/safe_text.h>
#include <lastcall/base/spelling.h>
#include <lastcall/net/acceptor.h>

#include "daemon/receipt_file.h"
#include "wire/convert.h"

namespace lastcall {
namespace {

// How long a file system may take to take the receipt.
constexpr auto kReceiptPatience = std::chrono::seconds(2);

// How often watchers see the calls in flight while stopping.
constexpr auto kRefresh = std::chrono::milliseconds(200);
// How far a stop without end is promised to systemd at a time.
constexpr auto kPromise = std::chrono::seconds(30);
// How long everything may take that comes after the receipt is known: its file, the last answers of
// the admin socket, and closing that.
constexpr auto kLastWords = std::chrono::seconds(6);
// What comes after the last instant: killing what is left, keeping the receipt, and the last answers.
constexpr auto kAfterwards = std::chrono::seconds(5);

std::optional<Duration> Given(bool has, double seconds) {
  return has ? std::optional(FromSeconds(seconds)) : std::nullopt;
}

}  // namespace

Daemon::Daemon(Prepared prepared, Self self, std::string host_program, Logger& logger)
    : config_(std::move(prepared.config)),
      contents_(std::move(prepared.contents)),
      roles_(std::move(prepared.roles)),
      warnings_(std::move(prepared.warnings)),
      self_(std::move(self)),
      host_program_(std::move(host_program)),
      logger_(logger),
      log_(logger.log()),
      started_(clock_.Now()),
      reading_([this](Callback run) { Post(std::move(run)); }, kReaders, 1),
      trials_([this](Callback run) { Post(std::move(run)); }, kTrials) {}

Daemon::~Daemon() = default;

Result<> Daemon::Bind(const HostNames& names) {
  if (auto claimed = ClaimAdminSocket(); !claimed) return claimed;
  auto sockets = binder_.Bind(config_, {}, names);
  if (!sockets) return tl::unexpected(sockets.error());
  sockets_ = std::move(*sockets);
  for (const std::string& warning : warnings_) Say(LogLevel::kWarning, warning);
  for (const std::string& name : binder_.passed().Unused()) {
    Say(LogLevel::kWarning, "systemd passed socket \"" + name +
                                "\", which no server listens on; "
                                "write listen = [\"systemd:" +
                                name + "\"]");
  }
  return {};
}

Supervisor::Member Daemon::MemberOf(const Config& config, const std::string& process,
                                    const Sockets& sockets) {
  auto spec = std::make_shared<HostSpec>();
  spec->name = process;
  spec->program = host_program_;
  spec->shutdown = config.shutdown;
  spec->quiet = config.quiet;
  spec->ready = config.ready;
  Supervisor::Member member{.name = process};
  for (const ProcessConfig& one : config.processes) {
    if (one.name == process) member.restart = one.restart;
  }
  for (const ServerConfig& server : config.servers) {
    if (server.process != process) continue;
    HostSpec::Served& served = spec->servers.emplace_back();
    served.config = server;
    for (const Bound& bound : sockets.at(server.name)) served.sockets.push_back(bound.listener);
    member.servers.push_back(server.name);
  }
  member.make = [this,
                 spec = std::shared_ptr<const HostSpec>(std::move(spec))](uint32_t incarnation) {
    return std::make_unique<HostProcess>(loop_, spec, incarnation, static_cast<HostContext&>(*this),
                                         log_);
  };
  return member;
}

Supervisor::Options Daemon::SupervisorOptions(const Config& config) const {
  return {.shutdown = config.shutdown,
          .ready = config.ready,
          .settle = config.settle,
          .retire = config.reload_grace,
          .keep = config.keep};
}

void Daemon::MakeSupervisor() {
  std::vector<Supervisor::Member> members;
  for (const ProcessConfig& process : config_.processes) {
    members.push_back(MemberOf(config_, process.name, sockets_));
  }
  supervisor_.emplace(SupervisorOptions(config_), std::move(members), clock_,
                      static_cast<SupervisorObserver&>(*this), log_);
}

bool Daemon::IsDraining(const std::string& server) const {
  return supervisor_->draining().contains(server);
}

// Those that live: current ones, successors, retired ones.
template <class F>
void Daemon::ForEachProcess(F action) {
  for (const Supervisor::State& state : supervisor_->members()) {
    ForEachLife(state, [&](const Life& life) {
      if (life.process != nullptr) action(*life.process);
    });
  }
}

// The signals, too: without an admin there is nobody to tell what came of them.
Result<> Daemon::BeginAdmin() {
  if (const auto admin = StartAdmin(); !admin) {
    Say(LogLevel::kError, admin.error().message);
    return admin;
  }
  signals_.emplace(clock_, std::function([this](const ReceivedSignal& signal) {
                     Post([this, signal] { supervisor_->OnSignal(signal); });
                   }));
  return {};
}

int Daemon::Run() {
  const bool resumed = supervisor_.has_value();
  if (!resumed) MakeSupervisor();
  if (!BeginAdmin()) return kExitInternal;
  WatchClock();
  if (resumed) supervisor_->Resume();  // before anybody reaps who has no owner
  orphans_.emplace(loop_, log_);
  const auto work = boost::asio::make_work_guard(loop_);
  if (resumed) {
    GoOnWithReload();
    WatchSockets();  // what happened when nobody watched
  } else {
    Say(LogLevel::kInfo, "lastcalld " LASTCALL_VERSION " starts, pid " + std::to_string(getpid()) +
                             ", unix:" + admin_socket_->path());
    supervisor_->Start();
  }
  while (!over_) {
    ArmTimer();
    RunOne();
    if (LeavesNow()) Reexecute();
  }
  signals_.reset();
  // What has a path is removed first, for gRPC's end has no bound of its own. The supervisor shares
  // the listening sockets.
  attempt_.reset();
  supervisor_.reset();
  sockets_.clear();
  ending_.clear();
  admin_socket_.reset();
  const Instant by = After(clock_.Now(), kAdminGrace);
  end_in_time_.Arm(by, exit_code_);
  admin_ = nullptr;
  // Threads that hang would go on while what they use is destroyed: then nothing is.
  trials_.WaitIdle(by);
  if (reading_.running() + trials_.running() > 0) {
    logger_.queue().Flush();
    _exit(exit_code_);
  }
  return exit_code_;
}

// An exception ends what it concerns: a stop begun or asked for goes on.
void Daemon::RunOne() {
  try {
    loop_.run_one();
  } catch (const std::exception& error) {
    Say(LogLevel::kError, "internal error: " + SafeText(error.what()) + "; the daemon goes on");
  }
}

void Daemon::Tick() {
  supervisor_->OnTick();
  reading_.OnTick(clock_.Now());
  trials_.OnTick(clock_.Now());
}

void Daemon::ArmTimer() {
  const Instant next =
      std::min({supervisor_->next_instant(), reading_.next_instant(), trials_.next_instant()});
  if (next == armed_) return;
  armed_ = next;
  timer_.cancel();
  if (next == kNever) return;
  timer_.expires_at(std::chrono::time_point_cast<std::chrono::steady_clock::duration>(next));
  timer_.async_wait([this](const boost::system::error_code& error) {
    if (error) return;
    armed_ = kNever;
    // Behind everything that has happened already: after a pause of this process both are due.
    Post([this] { Tick(); });
  });
}

void Daemon::Post(std::function<void()> question) { boost::asio::post(loop_, std::move(question)); }

void Daemon::StageEntered(Stage stage) {
  switch (stage) {
    case Stage::kServing:
      systemd_.Ready(Summary());
      Post([this] { WatchSockets(); });
      break;
    case Stage::kDelay:
    case Stage::kGrace:
    case Stage::kCancel:
      // From the first request on there is no way back.
      systemd_.Stopping("stopping: " + std::string(Name(stage)));
      PromiseEnd();
      socket_watch_.End();
      if (stage != Stage::kDelay) {
        BeginEndListening(AllOf(sockets_),
                          stage == Stage::kGrace ? Acceptor::kLastCall : Duration::zero());
      }
      // A shutdown wins, and waits for nobody's proof.
      if (handover_ && handover_->check) {
        HandoverFailed({Code::kFailedPrecondition, "a shutdown is under way"});
      }
      break;
    default: break;
  }
  if (IsStopping(stage)) {
    const Error error{Code::kFailedPrecondition, "a shutdown is under way"};
    reading_.Cancel(error);
    trials_.Cancel(error);
  }
  if (IsStopping(stage) && stage != Stage::kStopped) {
    BeginRefresh();
    if (hub_.HasWatchers()) Publish();  // now: the end may be a moment away
  }
}

// systemd kills what is not over when it was promised. A stop without end is promised bit by bit: as
// long as this loop runs, it does not hang.
void Daemon::PromiseEnd() {
  const Instant now = clock_.Now();
  const Instant end = supervisor_->lifecycle().plan().end;
  const Instant until = After(end == kNever ? now : end, end == kNever ? kPromise : kAfterwards);
  if (end == kNever ? promised_ - now > kPromise / 2 : until <= promised_) return;
  promised_ = until;
  systemd_.ExtendTimeout(until - now);
}

std::string Daemon::Summary() const {
  return "serving " + std::to_string(config_.servers.size()) +
         (config_.servers.size() == 1 ? " server in " : " servers in ") +
         std::to_string(config_.processes.size()) +
         (config_.processes.size() == 1 ? " process" : " processes");
}

void Daemon::DumpRequested() {
  for (const auto& state : supervisor_->members()) {
    ForEachLife(state, [&](const Life& life) {
      Say(LogLevel::kWarning, "dump: process " + state.member.name + " incarnation " +
                                  std::to_string(life.incarnation) + " " +
                                  std::string(Name(life.phase)) + ", stage " +
                                  std::string(Name(life.stage)));
    });
  }
  ForEachProcess([](Process& process) { process.Dump(); });
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
    if (error || finished_) return;
    PromiseEnd();
    if (hub_.HasWatchers()) {
      ForEachProcess([this](Process& process) { process.BeginQuery([this] { Changed(); }); });
      Changed();
    }
    BeginRefresh();
  });
}

void Daemon::Retired(const Receipt& receipt) {
  const bool clean = receipt.exit_code == 0 && receipt.failure.empty();
  admin::v1::Ended& ended = last_retired_[receipt.subject];
  ended.set_incarnation(receipt.incarnation);
  ended.set_outcome(receipt.Outcome());
  Say(clean ? LogLevel::kInfo : LogLevel::kWarning,
      "process " + receipt.subject + ": incarnation " + std::to_string(receipt.incarnation) +
          " retired: " + receipt.Outcome());
  Say(clean ? LogLevel::kDebug : LogLevel::kWarning, "receipt: " + receipt.ToJson());
}

void Daemon::Finished(const Receipt& receipt) {
  exit_code_ = receipt.exit_code;
  // First of all: whatever is written or told from here on may hang.
  end_in_time_.Arm(After(clock_.Now(), kLastWords), exit_code_);
  Say(receipt.exit_code == 0 ? LogLevel::kInfo : LogLevel::kWarning, receipt.Outcome());
  Say(LogLevel::kInfo, "receipt: " + receipt.ToJson());
  systemd_.Status(receipt.Outcome());
  // Whoever is told the receipt may look for the file, so that one is first; not for longer than a
  // file system has to answer.
  reading_.Begin<Result<>>(
      After(clock_.Now(), kReceiptPatience),
      [folder = config_.state_dir, text = receipt.ToJson() + "\n"](const std::stop_token&) {
        return WriteReceipt(folder, text);
      },
      [this, receipt](const Result<Result<>>& kept) {
        Conclude(receipt,
                 kept ? *kept
                      : Fail(kept.error().code, "cannot keep the receipt in " + config_.state_dir +
                                                    "/receipt.json: " + kept.error().message));
      });
}

void Daemon::Conclude(const Receipt& receipt, const Result<>& kept) {
  if (!kept) Say(LogLevel::kWarning, kept.error().message + "; it is in the log");
  refresh_.cancel();
  admin::v1::ReceiptEvent event;
  *event.mutable_receipt() = ToProto(receipt);
  event.set_json(receipt.ToJson());
  hub_.Close(std::move(event));
  finished_ = true;
  // On the way to another build there is none, until it comes back.
  Post([this] {
    if (!handover_) EndAdmin();
  });
}

// Lets watchers read the receipt, and whoever asked his answer; bounded.
void Daemon::EndAdmin() {
  LeaveAdminSocket();
  admin_->BeginRetire(true, [this] { Post([this] { over_ = true; }); });
  admin_socket_->Close();
  refresh_.expires_after(kAdminGrace);
  refresh_.async_wait([this](const boost::system::error_code& error) {
    if (error) return;
    admin_->Cancel();
    refresh_.expires_after(kAdminGrace);
    refresh_.async_wait([this](const boost::system::error_code& gone) {
      if (gone) return;
      Say(LogLevel::kWarning, "the admin socket's connections have not ended; they are left");
      over_ = true;
    });
  });
}

admin::v1::ShutdownReply Daemon::Shutdown(const admin::v1::ShutdownRequest& asked,
                                          const Cause& by) {
  Request request = RequestNow(by, clock_);
  request.delay = Given(asked.has_delay_s(), asked.delay_s());
  request.grace = Given(asked.has_grace_s(), asked.grace_s());
  request.cancel = Given(asked.has_cancel_s(), asked.cancel_s());
  admin::v1::ShutdownReply reply;
  if (asked.dry_run()) {
    Ledger trial = supervisor_->lifecycle().ledger();
    reply.set_moved(trial.Add(request, supervisor_->stage()));
    *reply.mutable_plan() = ToAdmin(trial, clock_.Now());
    return reply;
  }
  reply.set_moved(supervisor_->OnRequest(std::move(request)));
  *reply.mutable_plan() = ToAdmin(supervisor_->lifecycle().ledger(), clock_.Now());
  return reply;
}

Result<bool> Daemon::SetDraining(const admin::v1::SetDrainingRequest& request, const Cause& by) {
  std::vector<std::string> names;
  for (const ServerConfig& server : config_.servers) names.push_back(server.name);
  if (std::find(names.begin(), names.end(), request.server()) == names.end()) {
    return Fail(Code::kNotFound,
                "no server \"" + request.server() + "\"; " + SpellingHint(request.server(), names));
  }
  return supervisor_->SetDraining(request.server(), request.draining(), by);
}

Result<std::string> Daemon::SetLogLevel(const std::string& name, const Cause& by) {
  const auto level = LogLevelNamed(name);
  if (!level) {
    const std::vector<std::string> known{"trace", "debug", "info", "warning", "error"};
    return Fail(Code::kInvalidArgument,
                "no log level \"" + name + "\"; " + SpellingHint(name, known));
  }
  const std::string previous(Name(logger_.level()));
  logger_.SetLevel(*level);
  ForEachProcess([&](Process& process) { process.SetLogLevel(*level); });
  Say(LogLevel::kInfo, "log level " + previous + " -> " + name + ", asked by " + Describe(by));
  return previous;
}

admin::v1::GetConfigReply Daemon::EffectiveConfig() {
  admin::v1::GetConfigReply reply;
  reply.set_toml(ToAnnotatedToml(config_));
  reply.set_json(ToJson(config_));
  for (const Origin& origin : OriginsOf(config_)) {
    admin::v1::Origin& one = *reply.add_origins();
    one.set_key(origin.key);
    one.set_kind(origin.kind == Origin::Kind::kFile          ? "file"
                 : origin.kind == Origin::Kind::kCommandLine ? "command line"
                                                             : "default");
    one.set_file(origin.place.file);
    one.set_line(origin.place.line);
  }
  return reply;
}

}  // namespace lastcall
