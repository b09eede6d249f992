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
#include "daemon/reload_response.h"
#include "wire/convert.h"

namespace lastcall {
namespace {

// How long a file system may take to take the receipt.
constexpr auto kReceiptPatience = std::chrono::seconds(2);

// How long everything may take that comes after the receipt is known: its file, the last answers of
// the admin socket, and closing that.
constexpr auto kLastWords = std::chrono::seconds(6);

}  // namespace

Daemon::Daemon(Setup setup, Self self, std::string host_program, Logger& logger)
    : setup_(std::move(setup)),
      self_(std::move(self)),
      host_program_(std::move(host_program)),
      logger_(logger),
      log_(logger.log()),
      started_(clock_.Now()),
      socket_keeper_(
          loop_, clock_, log_, setup_,
          {.may_change = [this] { return supervisor_->CheckServing() && reload_->idle(); },
           .begin_replace =
               [this](const std::string& process, const Cause& by,
                      SocketKeeper::Replaced replaced) {
                 return BeginReplace(process, by, std::move(replaced));
               }},
          {}),
      readings_([this](Callback run) { Post(std::move(run)); }, self_.program, host_program_,
                clock_, log_) {}

// Callers ask what is destroyed here.
Daemon::~Daemon() { door_.End(); }

Result<> Daemon::Bind(const HostNames& names) {
  if (auto claimed = door_.Claim(setup_.config.admin_socket); !claimed) return claimed;
  auto sockets = binder_.Bind(setup_.config, {}, names);
  if (!sockets) return tl::unexpected(sockets.error());
  setup_.sockets = std::move(*sockets);
  for (const std::string& name : binder_.passed().Unused()) {
    Say(LogLevel::kWarning, "systemd passed socket \"" + name +
                                "\", which no server listens on; "
                                "write listen = [\"systemd:" +
                                name + "\"]");
  }
  return {};
}

ProcessSpec Daemon::SpecOf(const Setup& setup, const std::string& process) {
  ProcessSpec spec = lastcall::SpecOf(setup.config, process);
  auto host = std::make_shared<const HostSpec>(HostSpecOf(setup, process, host_program_));
  spec.make = [this, host = std::move(host)](uint32_t number) {
    return std::make_unique<HostProcess>(loop_, host, number, static_cast<HostContext&>(*this),
                                         log_);
  };
  return spec;
}

// By one that has the sockets of now.
Result<> Daemon::BeginReplace(const std::string& process, const Cause& by,
                              SocketKeeper::Replaced replaced) {
  return supervisor_->BeginChanges(
      {{Supervisor::Change::Kind::kReplace, SpecOf(setup_, process)}}, by,
      [replaced = std::move(replaced)](const std::vector<Supervisor::Outcome>& outcomes) {
        replaced(outcomes.empty() ? "" : outcomes.back().failure);
      });
}

// What needs the supervisor, which begins with what runs, or goes on from `resumed`.
void Daemon::Assemble(Supervisor::Resumed* resumed) {
  const Supervisor::Options options = SupervisorOptions(setup_.config);
  SupervisorObserver& observer = *this;
  if (resumed != nullptr) {
    supervisor_.emplace(options, std::move(*resumed), clock_, observer, log_);
  } else {
    std::vector<ProcessSpec> specs;
    for (const ProcessConfig& process : setup_.config.processes) {
      specs.push_back(SpecOf(setup_, process.name));
    }
    supervisor_.emplace(options, std::move(specs), clock_, observer, log_);
  }
  const Executor loop = [this](Callback run) { Post(std::move(run)); };
  reload_.emplace(
      Reload::Parts{.running = setup_,
                    .supervisor = *supervisor_,
                    .binder = binder_,
                    .readings = readings_,
                    .spec_of = [this](const Setup& setup,
                                      const std::string& name) { return SpecOf(setup, name); },
                    .loop = loop,
                    .clock = clock_,
                    .log = log_},
      static_cast<ReloadOwner&>(*this));
  handover_.emplace(*supervisor_, static_cast<HandoverEffects&>(*this), loop, clock_, log_);
  backend_.emplace(Backend::Parts{.loop = loop_,
                                  .setup = setup_,
                                  .supervisor = *supervisor_,
                                  .reload = *reload_,
                                  .handover = *handover_,
                                  .continued = continued_,
                                  .logger = logger_,
                                  .clock = clock_,
                                  .status = [this] { return Status(); }});
}

admin::v1::Status Daemon::Status() {
  return StatusOf({.supervisor = *supervisor_,
                   .setup = setup_,
                   .ended_calls = ended_calls_,
                   .last_retired = last_retired_,
                   .last_reload = reload_->last(),
                   .log_level = logger_.level(),
                   .started = started_,
                   .now = clock_.Now(),
                   .wall = clock_.Wall()});
}

bool Daemon::IsDraining(const std::string& server) const {
  return supervisor_->draining().contains(server);
}

// The signals, too: without an admin there is nobody to tell what came of them.
Result<> Daemon::BeginAdmin() {
  if (const auto admin = door_.Open(*backend_, setup_.roles); !admin) {
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
  if (!resumed) Assemble(nullptr);
  if (!BeginAdmin()) return kExitInternal;
  clock_watch_.Begin();
  if (resumed) supervisor_->Resume();  // before anybody reaps who has no owner
  orphans_.emplace(loop_, log_);
  const auto work = boost::asio::make_work_guard(loop_);
  if (resumed) {
    GoOnWithReload();
    socket_keeper_.Begin();  // what happened when nobody watched
  } else {
    Say(LogLevel::kInfo, "lastcalld " LASTCALL_VERSION " starts, pid " + std::to_string(getpid()) +
                             ", unix:" + door_.socket().path());
    supervisor_->Start();
  }
  while (!over_) {
    ArmTimer();
    RunOne();
  }
  signals_.reset();
  // What has a path is removed first, for gRPC's end has no bound of its own. The supervisor shares
  // the listening sockets.
  handover_.reset();
  reload_.reset();
  supervisor_.reset();
  setup_.sockets.clear();
  ending_.End();
  const Instant by = After(clock_.Now(), kLastMoment);
  end_in_time_.Arm(by, exit_code_);
  door_.End();
  // Threads that hang would go on while what they use is destroyed: then nothing is.
  readings_.WaitForTrials(by);
  if (readings_.running() > 0) {
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
  readings_.OnTick();
}

void Daemon::ArmTimer() {
  const Instant next = std::min(supervisor_->next_instant(), readings_.next_instant());
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

void Daemon::Post(Callback run) { boost::asio::post(loop_, std::move(run)); }

void Daemon::StageEntered(Stage stage) {
  switch (stage) {
    case Stage::kServing:
      systemd_.Ready(Summary());
      Post([this] { socket_keeper_.Begin(); });
      break;
    case Stage::kDelay:
    case Stage::kGrace:
    case Stage::kCancel:
      // From the first request on there is no way back.
      systemd_.Stopping("stopping: " + std::string(Name(stage)));
      stop_progress_.Begin();
      socket_keeper_.End();
      if (stage != Stage::kDelay) {
        ending_.Begin(AllOf(setup_.sockets),
                      stage == Stage::kGrace ? Acceptor::kLastCall : Duration::zero());
      }
      handover_->Abort(supervisor_->CheckServing().error());
      break;
    default: break;
  }
  if (IsStopping(stage)) {
    readings_.Cancel(supervisor_->CheckServing().error());
  }
  // Now: the end may be a moment away.
  if (IsStopping(stage) && stage != Stage::kStopped && door_.hub().HasWatchers()) Publish();
}

std::string Daemon::Summary() const {
  return "serving " + std::to_string(setup_.config.servers.size()) +
         (setup_.config.servers.size() == 1 ? " server in " : " servers in ") +
         std::to_string(setup_.config.processes.size()) +
         (setup_.config.processes.size() == 1 ? " process" : " processes");
}

void Daemon::DumpRequested() {
  for (const Member& member : supervisor_->members()) {
    ForEachIncarnation(member, [&](const Incarnation& incarnation) {
      Say(LogLevel::kWarning, "dump: process " + member.spec.name + " incarnation " +
                                  std::to_string(incarnation.number) + " " +
                                  std::string(Name(incarnation.phase)) + ", stage " +
                                  std::string(Name(incarnation.stage)));
    });
  }
  ForEachProcess(*supervisor_, [](Process& process) { process.Dump(); });
}

void Daemon::Changed() {
  if (publish_pending_ || !door_.hub().HasWatchers()) return;
  publish_pending_ = true;
  Post([this] { Publish(); });
}

void Daemon::Publish() {
  publish_pending_ = false;
  door_.hub().Publish(Status());
}

// While stopping, watchers see the calls in flight go down.
void Daemon::Refresh() {
  if (!door_.hub().HasWatchers()) return;
  ForEachProcess(*supervisor_,
                 [this](Process& process) { process.BeginQuery([this] { Changed(); }); });
  Changed();
}

void Daemon::Retired(const Receipt& receipt) {
  const bool clean = receipt.exit_code == 0 && receipt.failure.empty();
  last_retired_.Add(receipt);
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
  readings_.Begin<Result<>>(
      After(clock_.Now(), kReceiptPatience),
      [folder = setup_.config.state_dir, text = receipt.ToJson() + "\n"](const std::stop_token&) {
        return WriteReceipt(folder, text);
      },
      [this, receipt](const Result<Result<>>& kept) {
        Conclude(receipt, kept ? *kept
                               : Fail(kept.error().code,
                                      "cannot keep the receipt in " + setup_.config.state_dir +
                                          "/receipt.json: " + kept.error().message));
      });
}

void Daemon::Conclude(const Receipt& receipt, const Result<>& kept) {
  if (!kept) Say(LogLevel::kWarning, kept.error().message + "; it is in the log");
  stop_progress_.End();
  admin::v1::ReceiptEvent event;
  *event.mutable_receipt() = ToProto(receipt);
  event.set_json(receipt.ToJson());
  door_.hub().Close(std::move(event));
  finished_ = true;
  // On the way to another build there is none, until it comes back.
  Post([this] {
    if (!handover_->active()) CloseAdmin();
  });
}

// Lets watchers read the receipt, and whoever asked his answer; bounded.
void Daemon::CloseAdmin() {
  door_.BeginClose([this] { over_ = true; });
}

void Daemon::ReloadRequested(const Cause& by) {
  // Who sent it reads the log.
  reload_->Begin(by, true, [](const Result<ReloadReport>&) {});
}

void Daemon::TookEffect(const Setup& before,
                        const std::set<std::shared_ptr<const Listener>>& dropped) {
  const Config& config = setup_.config;
  if (config.log_level != before.config.log_level) {
    (void)backend_->SetLogLevel(config.log_level, {.kind = Cause::Kind::kProgram, .who = "reload"});
  }
  supervisor_->SetOptions(SupervisorOptions(config));
  for (const ProcessConfig& process : config.processes) {
    supervisor_->SetSpec(SpecOf(setup_, process.name));
  }
  ended_calls_.KeepOnly([this](const std::string& name) { return setup_.sockets.contains(name); });
  door_.SetRoles(setup_.roles);
  // A stop may have begun meanwhile: in its delay they are still served.
  if (supervisor_->stage() == Stage::kDelay) {
    ending_.Defer(dropped);
  } else {
    ending_.Begin(dropped, Acceptor::kLastCall);
  }
  Post([this] { socket_keeper_.Begin(); });  // not in the middle of the supervisor's own change
  if (supervisor_->stage() == Stage::kServing) systemd_.Ready(Summary());
}

}  // namespace lastcall
