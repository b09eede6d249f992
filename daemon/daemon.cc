#include "daemon/daemon.h"

#include <unistd.h>

#include <algorithm>
#include <utility>

#include "daemon/handover/saved_state.h"
#include "wire/convert.h"

namespace lastcall {

Daemon::Daemon(Setup setup, ProgramImage image, std::string host_program, Logger& logger)
    : setup_(std::move(setup)),
      image_(std::move(image)),
      logger_(logger),
      log_(logger.log()),
      started_(clock_.Now()),
      loop_(log_),
      stop_progress_(loop_.context(), clock_,
                     {.end = [this] { return supervisor_->lifecycle().plan().end; },
                      .promise = [this](Duration length) { systemd_.ExtendTimeout(length); },
                      .refresh = [this] { Refresh(); }}),
      clock_watch_(loop_.context(), clock_,
                   [this](Duration jump) { log_(LogLevel::kWarning, DescribeJump(jump)); }),
      door_(loop_.context(), clock_, log_),
      watchdog_({.loop = loop_.context(),
                 .patience = systemd_.patience(),
                 .ask =
                     [this](std::function<void()> answered) {
                       return door_.BeginProbe(std::move(answered));
                     },
                 .beat = [this] { systemd_.Watchdog(); }}),
      feed_(door_.hub(), loop_.executor(), [this] { return Status(); }),
      socket_keeper_(
          loop_.context(), clock_, log_, setup_,
          {.may_change = [this] { return supervisor_->CheckServing() && reload_->idle(); },
           .begin_replace =
               [this](const std::string& process, const Cause& by,
                      SocketKeeper::Replaced replaced) {
                 return BeginReplace(process, by, std::move(replaced));
               }},
          {}),
      ending_(loop_.context()),
      hosts_({.loop = loop_.context(),
              .program = host_program,
              .running = setup_,
              .supervisor = supervisor_,
              .candidate = [this] { return reload_->candidate(); },
              .reported = [this] { feed_.Changed(); },
              .stalls_changed =
                  [this] {
                    if (supervisor_->stage() == Stage::kServing) systemd_.Status(Served());
                  },
              .logger = logger_}),
      readings_(loop_.executor(), image_.program, std::move(host_program), clock_, log_),
      conclusion_({.loop = loop_.executor(),
                   .clock = clock_,
                   .log = log_,
                   .door = door_,
                   .readings = readings_,
                   .end_in_time = end_in_time_,
                   .systemd = systemd_,
                   .has_door = [this] { return !handover_->handover().active(); },
                   .kept = [this] { stop_progress_.End(); },
                   .over = [this] { loop_.End(); }}) {}

// Callers ask what is destroyed here.
Daemon::~Daemon() { door_.End(); }

Result<> Daemon::Bind(const HostNames& names) {
  if (auto claimed = door_.Claim(setup_.config.admin_socket); !claimed) return claimed;
  auto sockets = binder_.Bind(setup_.config, {}, names);
  if (!sockets) return tl::unexpected(sockets.error());
  setup_.sockets = std::move(*sockets);
  for (const std::string& warning : binder_.UnusedWarnings()) log_(LogLevel::kWarning, warning);
  return {};
}

// Touches nothing of what it takes over: a check does as much.
void Daemon::Resume(const state::v1::State& state) {
  started_ = FromProto(state.started_ns());
  logger_.queue().AddDropped(state.log_lines_dropped());
  door_.TakeOver(UniqueFd(state.admin_lock()), FromProto(state.admin()));
  hosts_.ended_calls().Load(state);
  hosts_.lingering().Add({state.lingering().begin(), state.lingering().end()});
  binder_ = SocketBinder(PassedIn(state));
  auto resumed = ResumedFrom(
      state, [this](const std::string& process) { return hosts_.SpecOf(setup_, process); },
      [this](const std::string& process, uint32_t incarnation, const state::v1::Host& host) {
        return hosts_.Resume(process, incarnation, host);
      });
  Assemble(&resumed);
  if (state.has_reload()) {
    continued_.Begin(state.reload().id());
    resumed_by_ = FromProto(state.reload().by());
  }
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
      specs.push_back(hosts_.SpecOf(setup_, process.name));
    }
    supervisor_.emplace(options, std::move(specs), clock_, observer, log_);
  }
  ReloadOwner& owner = *this;
  reload_.emplace(Reload::Parts{.running = setup_,
                                .supervisor = *supervisor_,
                                .binder = binder_,
                                .readings = readings_,
                                .spec_of =
                                    [this](const Setup& setup, const std::string& name) {
                                      return hosts_.SpecOf(setup, name);
                                    },
                                .loop = loop_.executor(),
                                .clock = clock_,
                                .log = log_},
                  owner);
  handover_.emplace(DaemonHandover::Parts{.loop = loop_,
                                          .clock = clock_,
                                          .logger = logger_,
                                          .image = image_,
                                          .setup = setup_,
                                          .binder = binder_,
                                          .hosts = hosts_,
                                          .supervisor = *supervisor_,
                                          .door = door_,
                                          .ending = ending_,
                                          .readings = readings_,
                                          .reload = *reload_,
                                          .continued = continued_,
                                          .systemd = systemd_,
                                          .started = started_,
                                          .stop_hearing = [this] { signals_.reset(); },
                                          .hear_again =
                                              [this] {
                                                if (BeginHearing()) return;
                                                conclusion_.GiveUp(kExitInternal);
                                              },
                                          .over = [this] { conclusion_.GoOn(); }});
  backend_.emplace(Backend::Parts{.loop = loop_.context(),
                                  .setup = setup_,
                                  .supervisor = *supervisor_,
                                  .reload = *reload_,
                                  .handover = handover_->handover(),
                                  .continued = continued_,
                                  .logger = logger_,
                                  .clock = clock_,
                                  .status = [this] { return Status(); }});
}

admin::v1::Status Daemon::Status() const {
  return StatusOf({.supervisor = *supervisor_,
                   .setup = setup_,
                   .ended_calls = hosts_.ended_calls(),
                   .last_retired = last_retired_,
                   .last_reload = reload_->last(),
                   .log_level = logger_.level(),
                   .started = started_,
                   .now = clock_.Now(),
                   .wall = clock_.Wall()});
}

// Callers of the admin and signals; without an admin there is no one to tell what came of them.
Result<> Daemon::BeginHearing() {
  if (const auto admin = door_.Open(*backend_, setup_.roles); !admin) {
    log_(LogLevel::kError, admin.error().message);
    return admin;
  }
  signals_.emplace(clock_, std::function([this](const ReceivedSignal& signal) {
                     loop_.Post([this, signal] { supervisor_->OnSignal(signal); });
                   }));
  return {};
}

int Daemon::Run() {
  const bool resumed = supervisor_.has_value();
  if (!resumed) Assemble(nullptr);
  if (!BeginHearing()) return kExitInternal;
  clock_watch_.Begin();
  watchdog_.Begin();
  if (resumed) supervisor_->Resume();  // before anybody reaps who has no owner
  orphans_.emplace(loop_.context(), log_);
  resumed ? GoOn() : Start();
  loop_.Run([this] { return std::min(supervisor_->next_instant(), readings_.next_instant()); },
            [this] {
              supervisor_->OnTick();
              readings_.OnTick();
            });
  End();
  return conclusion_.exit_code();
}

void Daemon::Start() {
  log_(LogLevel::kInfo, "lastcalld " LASTCALL_VERSION " starts, pid " + std::to_string(getpid()) +
                            ", unix:" + door_.socket().path());
  supervisor_->Start();
}

// Where the build before was: its reload is this one's to make.
void Daemon::GoOn() {
  log_(LogLevel::kInfo, "lastcalld " LASTCALL_VERSION " resumed after re-exec");
  systemd_.Ready(Served());
  reload_->Begin(resumed_by_, true, [this](Result<ReloadReport> report) {
    if (report) report->another_build = true;
    continued_.Settle(report);
  });
  socket_keeper_.Begin();  // what happened when nobody watched
}

void Daemon::End() {
  signals_.reset();
  // What has a path is removed first, for gRPC's end has no bound of its own. The supervisor shares
  // the listening sockets.
  handover_.reset();
  reload_.reset();
  supervisor_.reset();
  setup_.sockets.clear();
  ending_.End();
  const Instant by = After(clock_.Now(), Conclusion::kLastMoment);
  end_in_time_.Arm(by, conclusion_.exit_code());
  door_.End();
  // Threads that hang would go on while what they use is destroyed: then nothing is.
  readings_.WaitForPreflights(by);
  if (readings_.running() > 0) {
    logger_.queue().Flush();
    _exit(conclusion_.exit_code());
  }
}

// By one that has the sockets of now.
Result<> Daemon::BeginReplace(const std::string& process, const Cause& by,
                              SocketKeeper::Replaced replaced) {
  return supervisor_->BeginChanges(
      {{Supervisor::Change::Kind::kReplace, hosts_.SpecOf(setup_, process)}}, by,
      [replaced = std::move(replaced)](const std::vector<Supervisor::Outcome>& outcomes) {
        replaced(outcomes.empty() ? "" : outcomes.back().failure);
      });
}

}  // namespace lastcall
