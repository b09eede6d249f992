#include "lastcall/supervisor/supervisor.h"

#include <algorithm>
#include <utility>

namespace lastcall {
namespace {

// How long to wait for the death of what was killed: a process in the kernel's hands may take longer.
constexpr Duration kPatience = std::chrono::seconds(1);

}  // namespace

std::string_view Name(Phase phase) {
  switch (phase) {
    case Phase::kStarting: return "starting";
    case Phase::kRunning: return "running";
    case Phase::kStopping: return "stopping";
    case Phase::kWaiting: return "waiting";
    case Phase::kDown: return "down";
  }
  return "down";
}

class Supervisor::Events final : public ProcessEvents {
 public:
  Events(Supervisor& supervisor, size_t member, uint32_t incarnation)
      : supervisor_(supervisor), member_(member), incarnation_(incarnation) {}

  void Ready() override { supervisor_.OnReady(member_, incarnation_); }
  void StartFailed(const Error& error) override {
    supervisor_.OnStartFailed(member_, incarnation_, error);
  }
  void StageReached(Stage stage) override { supervisor_.OnStage(member_, incarnation_, stage); }
  void Requested(Request request) override { supervisor_.OnRequest(std::move(request)); }
  void Reported(Receipt receipt) override {
    supervisor_.OnReceipt(member_, incarnation_, std::move(receipt));
  }
  void Exited(const ExitStatus& status) override {
    supervisor_.OnExited(member_, incarnation_, status);
  }

 private:
  Supervisor& supervisor_;
  const size_t member_;
  const uint32_t incarnation_;
};

Supervisor::Supervisor(Options options, std::vector<Member> members, const Clock& clock,
                       SupervisorObserver& observer, Log log)
    : options_(options),
      clock_(clock),
      observer_(observer),
      log_(std::move(log)),
      lifecycle_(options.shutdown, clock.Now()) {
  for (Member& member : members) members_.emplace_back().member = std::move(member);
}

Supervisor::Supervisor(Options options, Resumed resumed, const Clock& clock,
                       SupervisorObserver& observer, Log log)
    : options_(options),
      clock_(clock),
      observer_(observer),
      log_(std::move(log)),
      lifecycle_(options.shutdown, resumed.started),
      members_(std::move(resumed.members)),
      draining_(std::move(resumed.draining)) {
  lifecycle_.Happened(Event::kBecameReady, resumed.serving_since);
}

void Supervisor::Start() {
  for (State& state : members_) BeginStart(state);
  FollowProcesses();
}

void Supervisor::Resume() {
  for (State& state : members_) {
    ForEachLife(state, [&](Life& life) {
      if (life.process != nullptr) life.process->Resume(EventsOf(state, life));
    });
  }
}

void Supervisor::SetPhase(Life& life, Phase phase, Instant until) {
  life.phase = phase;
  life.phase_began = clock_.Now();
  life.until = until;
}

void Supervisor::BeginStart(State& state) { BeginLife(state, state, state.member); }

void Supervisor::BeginLife(State& state, Life& life, const Member& member) {
  static_cast<Life&>(life) = Life{};
  if (&life == &state) state.stays_down = false;
  life.incarnation = ++state.incarnations;
  life.incarnation_began = clock_.Now();
  SetPhase(life, Phase::kStarting, After(clock_.Now(), options_.ready));
  life.process = member.make(life.incarnation);
  life.process->BeginStart(EventsOf(state, life));
}

std::shared_ptr<ProcessEvents> Supervisor::EventsOf(const State& state, const Life& life) {
  const auto place = std::find_if(members_.begin(), members_.end(),
                                  [&](const State& each) { return &each == &state; });
  return std::make_shared<Events>(*this, static_cast<size_t>(place - members_.begin()),
                                  life.incarnation);
}

Life* Supervisor::Find(size_t member, uint32_t incarnation) {
  if (member >= members_.size()) return nullptr;
  Life* found = nullptr;
  ForEachLife(members_[member], [&](Life& life) {
    if (life.incarnation == incarnation) found = &life;
  });
  return found;
}

bool Supervisor::IsSuccessor(const State& state, const Life& life) const {
  return state.successor && &*state.successor == &life;
}

void Supervisor::OnReady(size_t member, uint32_t incarnation) {
  Life* const life = Find(member, incarnation);
  if (life == nullptr || life->phase != Phase::kStarting || life->killed) return;
  State& state = members_[member];
  SetPhase(*life, Phase::kRunning);
  life->stage = std::max(life->stage, Stage::kServing);
  log_(LogLevel::kInfo, "process " + state.member.name + " is ready (incarnation " +
                            std::to_string(incarnation) + ")");
  if (IsSuccessor(state, *life)) {
    TakeOver(state);
  } else if (lifecycle_.stage() == Stage::kServing) {
    Accept(state);
    if (std::exchange(state.added, false)) ChangeIsOver(state.member.name, "", incarnation);
  }
  // At the first start all begin together: when one of them cannot, no call of another must end.
  FollowProcesses();
}

void Supervisor::Accept(Life& life) {
  life.accepting_since = clock_.Now();
  life.process->Accept(true);
}

void Supervisor::OnStartFailed(size_t member, uint32_t incarnation, const Error& error) {
  Life* const life = Find(member, incarnation);
  if (life == nullptr) return;
  if (life->phase != Phase::kStarting && life->phase != Phase::kStopping) return;
  life->start_error = error.message;
  life->bad_configuration = IsConfiguration(error.code);
}

void Supervisor::OnStage(size_t member, uint32_t incarnation, Stage stage) {
  Life* const life = Find(member, incarnation);
  if (life == nullptr || stage <= life->stage) return;
  life->stage = stage;
  // It stops although nobody here asked: a signal sent to it alone. The plan is its own.
  if (IsStopping(stage) && life->phase == Phase::kRunning) {
    SetPhase(*life, Phase::kStopping);
    State& state = members_[member];
    // Nobody else would accept until it has gone.
    if (IsSuccessor(state, *life) && state.phase == Phase::kRunning) state.process->Accept(true);
  }
  FollowProcesses();
}

void Supervisor::OnReceipt(size_t member, uint32_t incarnation, Receipt receipt) {
  Life* const life = Find(member, incarnation);
  if (life == nullptr || life->phase == Phase::kWaiting || life->phase == Phase::kDown) return;
  life->receipt = std::move(receipt);
}

void Supervisor::OnExited(size_t member, uint32_t incarnation, const ExitStatus& status) {
  Life* const life = Find(member, incarnation);
  if (life == nullptr || life->phase == Phase::kWaiting || life->phase == Phase::kDown) return;
  State& state = members_[member];
  life->stage = Stage::kStopped;
  if (IsStopping(lifecycle_.stage())) {
    Ended(state, *life, status);
    SetPhase(*life, Phase::kDown);
  } else if (IsSuccessor(state, *life)) {
    SuccessorFailed(state, FailureOf(*life, status));
  } else if (life != &state) {
    Ended(state, *life, status);
    observer_.Retired(*life->receipt);
    std::erase_if(state.retired, [&](const Life& each) { return &each == life; });
  } else {
    Failed(state, status);
  }
  FollowProcesses();
}

std::string Supervisor::FailureOf(const Life& life, const ExitStatus& status) const {
  if (!life.start_error.empty()) return life.start_error;
  if (life.killed) return "not ready within " + FormatDuration(options_.ready);
  return Describe(status);
}

// A process has ended that nobody had asked to.
void Supervisor::Failed(State& state, const ExitStatus& status) {
  if (state.removed) return SetPhase(state, Phase::kDown);
  const bool first_start = lifecycle_.stage() == Stage::kStarting;
  const Duration lived = state.accepting_since == kNever
                             ? Duration::zero()
                             : Duration(clock_.Now() - state.accepting_since);
  state.last_failure = FailureOf(state, status);
  state.last_failed = state.incarnation;
  state.receipt.reset();
  const std::string what = "process " + state.member.name + ": " + state.last_failure;
  if (state.successor) {
    log_(LogLevel::kWarning, what + "; its successor takes over when it is ready");
    SetPhase(state, Phase::kDown);
    if (state.successor->took_over) Promote(state);
    return;
  }
  if (state.added) {
    SetPhase(state, Phase::kDown);
    state.removed = true;
    state.member.make = nullptr;
    return ChangeIsOver(state.member.name, state.last_failure, 0);
  }
  if (first_start) {
    SetPhase(state, Phase::kDown);
    // What it said itself is in the log already.
    if (state.start_error.empty()) log_(LogLevel::kError, what);
    start_error_ = Error{state.bad_configuration ? Code::kInvalidArgument : Code::kInternal, what};
    OnRequest(RequestNow({.kind = Cause::Kind::kProcess,
                          .who = state.member.name,
                          .reason = "cannot start: " + state.last_failure},
                         clock_));
    return;
  }
  const RestartPolicy policy = state.member.restart;
  if (policy == RestartPolicy::kStayDown ||
      (policy == RestartPolicy::kOnFailure && status.clean())) {
    SetPhase(state, Phase::kDown);
    state.stays_down = true;
    log_(LogLevel::kWarning, what + "; it stays down by its restart policy");
    return;
  }
  ++state.restarts;
  const Duration wait = state.back_off.Next(lived);
  SetPhase(state, Phase::kWaiting, After(clock_.Now(), wait));
  log_(LogLevel::kWarning,
       what + "; restarting in " + FormatDuration(wait) + "; new connections queue in the kernel");
}

void Supervisor::OnSignal(const ReceivedSignal& signal) {
  const SignalAction action = signal_table_.Decide(signal, lifecycle_.stage());
  switch (action) {
    case SignalAction::kDump: return observer_.DumpRequested();
    case SignalAction::kReload: return observer_.ReloadRequested(RequestOf(signal, action).cause);
    case SignalAction::kRefuseReload:
      return log_(LogLevel::kWarning, "SIGHUP: reload refused, for a shutdown is in progress");
    default: OnRequest(RequestOf(signal, action));
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
  log_(LogLevel::kInfo, skip ? who + " again: stage " + std::string(Name(before)) + " is skipped"
                             : "stop requested by " + who + (moved ? "" : "; schedule unchanged"));
  BeginStop();
  Apply(changes);
  FollowProcesses();
  AbandonChanges();
  return moved;
}

void Supervisor::BeginStop() {
  const auto& ledger = lifecycle_.ledger();
  const auto stop = [&](Life& life) {
    switch (life.phase) {
      case Phase::kStarting:
      case Phase::kRunning: SetPhase(life, Phase::kStopping); [[fallthrough]];
      case Phase::kStopping:
        life.until = kNever;  // the plan's end is the daemon's
        life.process->BeginStop(ledger.plan(), ledger.entries());
        break;
      case Phase::kWaiting: SetPhase(life, Phase::kDown); break;
      case Phase::kDown: break;
    }
  };
  for (State& state : members_) {
    // Where a successor settles, the old one may have addresses that it has not: both serve the delay.
    const bool paused = state.successor && state.successor->took_over;
    if (paused && state.phase == Phase::kRunning) state.process->Accept(true);
    ForEachLife(state, stop);
  }
}

bool Supervisor::AllAtLeast(Stage stage) const {
  bool all = true;
  for (const State& state : members_) {
    ForEachLife(state, [&](const Life& life) {
      all = all && (life.phase == Phase::kDown || life.stage >= stage);
    });
  }
  return all;
}

bool Supervisor::AllDown() const {
  bool all = true;
  for (const State& state : members_) {
    ForEachLife(state, [&](const Life& life) { all = all && life.phase == Phase::kDown; });
  }
  return all;
}

// Moves the daemon's own stage after the processes': it is the one of the slowest.
void Supervisor::FollowProcesses() {
  const Instant now = clock_.Now();
  switch (lifecycle_.stage()) {
    case Stage::kStarting:
      if (std::all_of(members_.begin(), members_.end(),
                      [](const State& state) { return state.phase == Phase::kRunning; })) {
        for (State& state : members_) Accept(state);
        Apply(lifecycle_.Happened(Event::kBecameReady, now));
      }
      break;
    case Stage::kDelay:
      if (AllAtLeast(Stage::kGrace)) Apply(lifecycle_.Happened(Event::kWentQuiet, now));
      break;
    case Stage::kGrace:
      if (AllAtLeast(Stage::kCancel)) Apply(lifecycle_.Happened(Event::kWentIdle, now));
      break;
    case Stage::kCancel:
      if (AllDown()) Apply(lifecycle_.Happened(Event::kCompleted, now));
      break;
    case Stage::kStopped:
      if (AllDown() || last_patience_ <= now) Finish();
      break;
    case Stage::kServing: break;
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
  FollowProcesses();
}

void Supervisor::EnterStopped(Event why) {
  if (why != Event::kDeadlinePassed) return;
  last_patience_ = After(clock_.Now(), kPatience);
  const auto end = [](Life& life) {
    if (life.phase == Phase::kDown) return;
    life.killed = true;
    life.process->Kill();
  };
  for (State& state : members_) ForEachLife(state, end);
}

void Supervisor::OnTick() {
  const Instant now = clock_.Now();
  // By number: what comes of it may add one.
  for (size_t i = 0; i < members_.size(); ++i) {
    State& state = members_[i];
    if (state.phase == Phase::kWaiting && state.until <= now) BeginStart(state);
    ForEachLife(state, [&](Life& life) {
      const bool overdue = life.phase == Phase::kStarting || life.phase == Phase::kStopping;
      if (!overdue || life.until > now) return;
      life.until = kNever;
      life.killed = true;
      life.process->Kill();
    });
    if (state.successor && state.successor->took_over && state.successor->until <= now) {
      Promote(state);
    }
  }
  Apply(lifecycle_.Advance(now));
  FollowProcesses();
}

Instant Supervisor::next_instant() const {
  if (finished_) return kNever;
  Instant next = std::min(lifecycle_.next_instant(), last_patience_);
  for (const State& state : members_) {
    ForEachLife(state, [&](const Life& life) { next = std::min(next, life.until); });
  }
  return next;
}

Result<bool> Supervisor::SetDraining(const std::string& server, bool draining, const Cause& by) {
  std::string names;
  for (State& state : members_) {
    if (state.removed) continue;
    for (const std::string& name : state.member.servers) {
      names += (names.empty() ? "" : ", ") + name;
      if (name != server) continue;
      if (IsStopping(lifecycle_.stage())) {
        return Fail(Code::kFailedPrecondition, "a shutdown is in progress; every server drains");
      }
      if (state.process != nullptr && state.process->drainable() == nullptr) {
        return Fail(Code::kUnimplemented, "process " + state.member.name +
                                              " cannot drain its servers; stop or replace it");
      }
      const bool changed = draining
                               ? draining_.try_emplace(server, Draining{by, clock_.Now()}).second
                               : draining_.erase(server) > 0;
      if (changed) {
        ForEachLife(state, [&](Life& life) {
          const bool living = life.phase == Phase::kStarting || life.phase == Phase::kRunning;
          Drainable* const drainable = living ? life.process->drainable() : nullptr;
          if (drainable != nullptr) drainable->SetDraining(server, draining);
        });
        log_(LogLevel::kInfo, "server " + server +
                                  (draining ? ": draining, asked by " : ": draining lifted by ") +
                                  Describe(by));
        observer_.Changed();
      }
      return changed;
    }
  }
  return Fail(Code::kNotFound, "no server \"" + server + "\"; there are: " + names);
}

}  // namespace lastcall
