#include "lastcall/supervisor/supervisor.h"

#include <unistd.h>

#include <algorithm>
#include <utility>

namespace lastcall {
namespace {

// The exit codes of the contract for a daemon that could not start.
constexpr int kInternal = 70;
constexpr int kBadConfiguration = 78;

// How long to wait for the death of what was killed: a process in the kernel's hands may take longer.
constexpr Duration kPatience = std::chrono::seconds(1);

}  // namespace

std::string Describe(const ExitStatus& status) {
  return status.signal != 0 ? "killed by " + SignalName(status.signal)
                            : "exit code " + std::to_string(status.code);
}

std::string_view Name(Supervisor::Phase phase) {
  switch (phase) {
    case Supervisor::Phase::kStarting: return "starting";
    case Supervisor::Phase::kRunning: return "running";
    case Supervisor::Phase::kStopping: return "stopping";
    case Supervisor::Phase::kWaiting: return "waiting";
    case Supervisor::Phase::kDown: return "down";
  }
  return "down";
}

Supervisor::Supervisor(Options options, std::vector<Member> members, const Clock& clock,
                       SupervisorObserver& observer, Log log)
    : options_(options),
      clock_(clock),
      observer_(observer),
      log_(std::move(log)),
      lifecycle_(options.shutdown, clock.Now()) {
  for (Member& member : members) members_.push_back({.member = std::move(member)});
}

void Supervisor::Start() {
  for (State& state : members_) BeginStart(state);
  Settle();
}

void Supervisor::SetPhase(State& state, Phase phase, Instant until) {
  state.phase = phase;
  state.phase_began = clock_.Now();
  state.until = until;
}

void Supervisor::BeginStart(State& state) {
  ++state.incarnation;
  state.stage = Stage::kStarting;
  state.start_error.clear();
  state.bad_configuration = false;
  state.killed = false;
  state.incarnation_began = clock_.Now();
  state.accepting_since = kNever;
  SetPhase(state, Phase::kStarting, After(clock_.Now(), options_.ready));
  state.member.process->BeginStart(state.incarnation);
}

bool Supervisor::IsCurrent(size_t member, uint32_t incarnation) const {
  return member < members_.size() && members_[member].incarnation == incarnation;
}

void Supervisor::OnReady(size_t member, uint32_t incarnation) {
  if (!IsCurrent(member, incarnation)) return;
  State& state = members_[member];
  if (state.phase != Phase::kStarting || state.killed) return;
  SetPhase(state, Phase::kRunning);
  state.stage = std::max(state.stage, Stage::kServing);
  // At the first start all begin together: when one of them cannot, no call of another must end.
  if (lifecycle_.stage() == Stage::kServing) Accept(state);
  log_(LogLevel::kInfo, "process " + state.member.name + " is ready (incarnation " +
                            std::to_string(incarnation) + ")");
  Settle();
}

void Supervisor::Accept(State& state) {
  state.accepting_since = clock_.Now();
  state.member.process->Accept();
}

void Supervisor::OnStartFailed(size_t member, uint32_t incarnation, const Error& error) {
  if (!IsCurrent(member, incarnation)) return;
  State& state = members_[member];
  if (state.phase != Phase::kStarting && state.phase != Phase::kStopping) return;
  state.start_error = error.message;
  state.bad_configuration = IsConfiguration(error.code);
}

void Supervisor::OnStage(size_t member, uint32_t incarnation, Stage stage) {
  if (!IsCurrent(member, incarnation)) return;
  State& state = members_[member];
  if (stage <= state.stage) return;
  state.stage = stage;
  // It stops although nobody here asked: a signal sent to it alone. The plan is its own.
  if (IsStopping(stage) && state.phase == Phase::kRunning) SetPhase(state, Phase::kStopping);
  Settle();
}

void Supervisor::OnReceipt(size_t member, uint32_t incarnation, Receipt receipt) {
  if (!IsCurrent(member, incarnation)) return;
  State& state = members_[member];
  if (state.phase == Phase::kWaiting || state.phase == Phase::kDown) return;
  state.receipt = std::move(receipt);
}

void Supervisor::OnExited(size_t member, uint32_t incarnation, const ExitStatus& status) {
  if (!IsCurrent(member, incarnation)) return;
  State& state = members_[member];
  if (state.phase == Phase::kWaiting || state.phase == Phase::kDown) return;
  state.stage = Stage::kStopped;
  if (IsStopping(lifecycle_.stage())) {
    Ended(state, status);
    SetPhase(state, Phase::kDown);
  } else {
    Failed(state, status);
  }
  Settle();
}

// A process has ended that was to end. Its receipt is its own, if it wrote one, and what it could not
// know of its end.
void Supervisor::Ended(State& state, const ExitStatus& status) {
  const bool silent = !state.receipt;
  if (silent) {
    state.receipt = Receipt{.subject = state.member.name, .incarnation = state.incarnation};
  }
  Receipt& receipt = *state.receipt;
  // One that had ended already was not killed, though it was tried: this process may have been stopped
  // for a while, and hear of the end late.
  if (state.killed && status.signal == SIGKILL) {
    receipt.exit_code = Receipt::kForced;
    receipt.failure = "did not end in time and was killed";
  } else if (status.signal != 0 || (silent && status.code != 0)) {
    receipt.failure =
        state.start_error.empty() ? Describe(status) : "could not start: " + state.start_error;
    // Its calls died with it, if it ever took any.
    const bool had_calls = silent && state.accepting_since != kNever;
    if (had_calls) receipt.exit_code = Receipt::kCallsCancelled;
  }
}

// A process has ended that nobody had asked to.
void Supervisor::Failed(State& state, const ExitStatus& status) {
  const bool first_start = lifecycle_.stage() == Stage::kStarting;
  const Duration lived = state.accepting_since == kNever
                             ? Duration::zero()
                             : Duration(clock_.Now() - state.accepting_since);
  state.last_failure = !state.start_error.empty() ? state.start_error
                       : state.killed ? "not ready within " + FormatDuration(options_.ready)
                                      : Describe(status);
  state.receipt.reset();
  const std::string what = "process " + state.member.name + ": " + state.last_failure;
  if (first_start) {
    SetPhase(state, Phase::kDown);
    // What it said itself is in the log already.
    if (state.start_error.empty()) log_(LogLevel::kError, what);
    start_error_ = Error{state.bad_configuration ? Code::kInvalidArgument : Code::kInternal, what};
    Request request;
    request.cause = {.kind = Cause::Kind::kProcess,
                     .who = state.member.name,
                     .reason = "cannot start: " + state.last_failure};
    request.at = clock_.Now();
    request.wall = clock_.Wall();
    OnRequest(std::move(request));
    return;
  }
  const RestartPolicy policy = state.member.restart;
  if (policy == RestartPolicy::kStayDown || (policy == RestartPolicy::kOnFailure && status.clean())) {
    SetPhase(state, Phase::kDown);
    log_(LogLevel::kWarning, what + "; it stays down by its restart policy");
    return;
  }
  ++state.restarts;
  const Duration wait = state.back_off.Next(lived);
  SetPhase(state, Phase::kWaiting, After(clock_.Now(), wait));
  log_(LogLevel::kWarning, what + "; starting it again in " + FormatDuration(wait) +
                               ", its clients wait in the queue");
}

void Supervisor::OnSignal(const ReceivedSignal& signal) {
  const SignalAction action = signal_table_.Decide(signal, lifecycle_.stage());
  switch (action) {
    case SignalAction::kDump:
      return observer_.DumpRequested();
    case SignalAction::kReload:
      return observer_.ReloadRequested();
    case SignalAction::kRefuseReload:
      return log_(LogLevel::kWarning, "SIGHUP: reload refused, for a shutdown is under way");
    default:
      OnRequest(RequestOf(signal, action));
  }
}

bool Supervisor::OnRequest(Request request) {
  if (lifecycle_.ledger().empty()) {
    began_ = request.wall;
    first_request_ = clock_.Now();
  }
  const bool skip = request.skip;
  const std::string who = Describe(request.cause);
  const Stage before = lifecycle_.stage();
  bool moved = false;
  const auto changes = lifecycle_.RequestStop(std::move(request), clock_.Now(), &moved);
  log_(LogLevel::kInfo,
       skip ? who + " again: stage " + std::string(Name(before)) + " is skipped"
            : "stop requested by " + who + (moved ? "" : "; the plan stays as it was"));
  BeginStop();
  Apply(changes);
  Settle();
  return moved;
}

void Supervisor::BeginStop() {
  const auto& ledger = lifecycle_.ledger();
  for (State& state : members_) {
    switch (state.phase) {
      case Phase::kStarting:
      case Phase::kRunning:
        SetPhase(state, Phase::kStopping);
        [[fallthrough]];
      case Phase::kStopping:
        state.member.process->BeginStop(ledger.plan(), ledger.entries());
        break;
      case Phase::kWaiting:
        SetPhase(state, Phase::kDown);
        break;
      case Phase::kDown:
        break;
    }
  }
}

bool Supervisor::AllAtLeast(Stage stage) const {
  return std::all_of(members_.begin(), members_.end(), [&](const State& state) {
    return state.phase == Phase::kDown || state.stage >= stage;
  });
}

bool Supervisor::AllDown() const {
  return std::all_of(members_.begin(), members_.end(),
                     [](const State& state) { return state.phase == Phase::kDown; });
}

// Moves the daemon's own stage after the processes': it is the one of the slowest.
void Supervisor::Settle() {
  const Instant now = clock_.Now();
  switch (lifecycle_.stage()) {
    case Stage::kStarting:
      if (std::all_of(members_.begin(), members_.end(), [](const State& state) {
            return state.phase == Phase::kRunning;
          })) {
        for (State& state : members_) Accept(state);
        Apply(lifecycle_.Happened(Happening::kBecameReady, now));
      }
      break;
    case Stage::kDelay:
      if (AllAtLeast(Stage::kGrace)) Apply(lifecycle_.Happened(Happening::kWentQuiet, now));
      break;
    case Stage::kGrace:
      if (AllAtLeast(Stage::kCancel)) Apply(lifecycle_.Happened(Happening::kWentIdle, now));
      break;
    case Stage::kCancel:
      if (AllDown()) Apply(lifecycle_.Happened(Happening::kWasDone, now));
      break;
    case Stage::kStopped:
      if (AllDown() || last_patience_ <= now) Finish();
      break;
    case Stage::kServing:
      break;
  }
  if (!finished_) observer_.Changed();
}

void Supervisor::Apply(const Lifecycle::Changes& changes) {
  if (changes.empty()) return;
  for (const Lifecycle::Change& change : changes) {
    log_(LogLevel::kInfo, "stage " + std::string(Name(change.entered)));
    observer_.StageEntered(change.entered);
    if (change.entered == Stage::kStopped) EnterStopped(change.why);
  }
  // A stage may have nothing to do, and its end the next.
  Settle();
}

void Supervisor::EnterStopped(Happening why) {
  if (why != Happening::kInstantPassed) return;
  last_patience_ = After(clock_.Now(), kPatience);
  for (State& state : members_) {
    if (state.phase == Phase::kDown) continue;
    state.killed = true;
    state.member.process->Kill();
  }
}

void Supervisor::OnTick() {
  const Instant now = clock_.Now();
  for (State& state : members_) {
    if (state.until > now) continue;
    if (state.phase == Phase::kWaiting) {
      BeginStart(state);
    } else if (state.phase == Phase::kStarting) {
      state.until = kNever;
      state.killed = true;
      state.member.process->Kill();
    }
  }
  Apply(lifecycle_.Advance(now));
  Settle();
}

Instant Supervisor::next_instant() const {
  if (finished_) return kNever;
  Instant next = std::min(lifecycle_.next_instant(), last_patience_);
  for (const State& state : members_) next = std::min(next, state.until);
  return next;
}

Result<bool> Supervisor::SetDraining(const std::string& server, bool draining, const Cause& by) {
  std::string names;
  for (State& state : members_) {
    for (const std::string& name : state.member.servers) {
      names += (names.empty() ? "" : ", ") + name;
      if (name != server) continue;
      if (IsStopping(lifecycle_.stage())) {
        return Fail(Code::kFailedPrecondition, "a shutdown is under way; every server drains");
      }
      const bool changed = draining ? draining_.try_emplace(server, Draining{by, clock_.Now()}).second
                                    : draining_.erase(server) > 0;
      if (changed) {
        state.member.process->SetDraining(server, draining);
        log_(LogLevel::kInfo, "server " + server + (draining ? ": draining, asked by "
                                                             : ": draining lifted by ") +
                                  Describe(by));
        observer_.Changed();
      }
      return changed;
    }
  }
  return Fail(Code::kNotFound, "no server \"" + server + "\"; there are: " + names);
}

void Supervisor::Finish() {
  if (std::exchange(finished_, true)) return;
  observer_.Finished(MakeReceipt());
}

Receipt Supervisor::MakeReceipt() {
  Receipt receipt{.subject = "lastcalld", .pid = getpid(), .began = began_};
  receipt.took = clock_.Now() - first_request_;
  receipt.requests = lifecycle_.ledger().entries();
  receipt.stages = lifecycle_.records();
  for (State& state : members_) {
    if (state.phase != Phase::kDown) {
      if (!state.receipt) {
        state.receipt = Receipt{.subject = state.member.name, .incarnation = state.incarnation};
      }
      state.receipt->exit_code = Receipt::kForced;
      state.receipt->failure = "was killed and is not gone yet";
    }
    if (!state.receipt) continue;
    Receipt& one = *state.receipt;
    receipt.calls_finished += one.calls_finished;
    receipt.calls_cancelled += one.calls_cancelled;
    // The lists go up: one place to look at for the whole daemon.
    std::move(one.cancelled.begin(), one.cancelled.end(), std::back_inserter(receipt.cancelled));
    std::move(one.stuck.begin(), one.stuck.end(), std::back_inserter(receipt.stuck));
    one.cancelled.clear();
    one.stuck.clear();
    if (!one.failure.empty() && receipt.failure.empty()) {
      receipt.failure = "process " + one.subject + " " + one.failure;
    }
    // The codes of a process that could not start (again) say nothing of its calls.
    if (one.exit_code <= Receipt::kForced) {
      receipt.exit_code = std::max(receipt.exit_code, one.exit_code);
    }
    receipt.processes.push_back(std::move(one));
  }
  if (start_error_) {
    receipt.failure = start_error_->message;
    receipt.exit_code =
        start_error_->code == Code::kInvalidArgument ? kBadConfiguration : kInternal;
  }
  return receipt;
}

}  // namespace lastcall
