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
  Events(Supervisor& supervisor, size_t place, uint32_t number)
      : supervisor_(supervisor), place_(place), number_(number) {}

  void Ready() override { supervisor_.OnReady(place_, number_); }
  void StartFailed(const Error& error) override {
    supervisor_.OnStartFailed(place_, number_, error);
  }
  void StageReached(Stage stage) override { supervisor_.OnStage(place_, number_, stage); }
  void Requested(Request request) override { supervisor_.OnRequest(std::move(request)); }
  void Reported(Receipt receipt) override {
    supervisor_.OnReceipt(place_, number_, std::move(receipt));
  }
  void Exited(const ExitStatus& status) override { supervisor_.OnExited(place_, number_, status); }

 private:
  Supervisor& supervisor_;
  const size_t place_;
  const uint32_t number_;
};

Supervisor::Supervisor(Options options, std::vector<ProcessSpec> specs, const Clock& clock,
                       SupervisorObserver& observer, Log log)
    : options_(options),
      clock_(clock),
      observer_(observer),
      log_(std::move(log)),
      lifecycle_(options.shutdown, clock.Now()) {
  for (ProcessSpec& spec : specs) members_.emplace_back().spec = std::move(spec);
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
  for (Member& member : members_) BeginStart(member);
  FollowProcesses();
}

void Supervisor::Resume() {
  for (Member& member : members_) {
    ForEachIncarnation(member, [&](Incarnation& incarnation) {
      if (incarnation.process != nullptr)
        incarnation.process->Resume(EventsOf(member, incarnation));
    });
  }
}

void Supervisor::SetPhase(Incarnation& incarnation, Phase phase, Instant until) {
  incarnation.phase = phase;
  incarnation.phase_began = clock_.Now();
  incarnation.until = until;
}

void Supervisor::BeginStart(Member& member) { BeginIncarnation(member, member, member.spec); }

void Supervisor::BeginIncarnation(Member& member, Incarnation& incarnation,
                                  const ProcessSpec& spec) {
  static_cast<Incarnation&>(incarnation) = Incarnation{};
  if (&incarnation == &member) member.stays_down = false;
  incarnation.number = ++member.incarnations;
  incarnation.began = clock_.Now();
  SetPhase(incarnation, Phase::kStarting, After(clock_.Now(), options_.ready));
  incarnation.process = spec.make(incarnation.number);
  incarnation.process->BeginStart(EventsOf(member, incarnation));
}

std::shared_ptr<ProcessEvents> Supervisor::EventsOf(const Member& member,
                                                    const Incarnation& incarnation) {
  const auto place = std::find_if(members_.begin(), members_.end(),
                                  [&](const Member& each) { return &each == &member; });
  return std::make_shared<Events>(*this, static_cast<size_t>(place - members_.begin()),
                                  incarnation.number);
}

Incarnation* Supervisor::Find(size_t place, uint32_t number) {
  if (place >= members_.size()) return nullptr;
  Incarnation* found = nullptr;
  ForEachIncarnation(members_[place], [&](Incarnation& incarnation) {
    if (incarnation.number == number) found = &incarnation;
  });
  return found;
}

bool Supervisor::IsSuccessor(const Member& member, const Incarnation& incarnation) const {
  return member.successor && &*member.successor == &incarnation;
}

void Supervisor::OnReady(size_t place, uint32_t number) {
  Incarnation* const incarnation = Find(place, number);
  if (incarnation == nullptr || incarnation->phase != Phase::kStarting || incarnation->killed)
    return;
  Member& member = members_[place];
  SetPhase(*incarnation, Phase::kRunning);
  incarnation->stage = std::max(incarnation->stage, Stage::kServing);
  log_(LogLevel::kInfo,
       "process " + member.spec.name + " is ready (incarnation " + std::to_string(number) + ")");
  if (IsSuccessor(member, *incarnation)) {
    TakeOver(member);
  } else if (lifecycle_.stage() == Stage::kServing) {
    Accept(member);
    if (std::exchange(member.added, false)) ChangeIsOver(member.spec.name, "", number);
  }
  // At the first start all begin together: when one of them cannot, no call of another must end.
  FollowProcesses();
}

void Supervisor::Accept(Incarnation& incarnation) {
  incarnation.accepting_since = clock_.Now();
  incarnation.process->Accept(true);
}

void Supervisor::OnStartFailed(size_t place, uint32_t number, const Error& error) {
  Incarnation* const incarnation = Find(place, number);
  if (incarnation == nullptr) return;
  if (incarnation->phase != Phase::kStarting && incarnation->phase != Phase::kStopping) return;
  incarnation->start_error = error.message;
  incarnation->bad_configuration = IsConfiguration(error.code);
}

void Supervisor::OnStage(size_t place, uint32_t number, Stage stage) {
  Incarnation* const incarnation = Find(place, number);
  if (incarnation == nullptr || stage <= incarnation->stage) return;
  incarnation->stage = stage;
  // It stops although nobody here asked: a signal sent to it alone. The plan is its own.
  if (IsStopping(stage) && incarnation->phase == Phase::kRunning) {
    SetPhase(*incarnation, Phase::kStopping);
    Member& member = members_[place];
    // Nobody else would accept until it has gone.
    if (IsSuccessor(member, *incarnation) && member.phase == Phase::kRunning)
      member.process->Accept(true);
  }
  FollowProcesses();
}

void Supervisor::OnReceipt(size_t place, uint32_t number, Receipt receipt) {
  Incarnation* const incarnation = Find(place, number);
  if (incarnation == nullptr || incarnation->phase == Phase::kWaiting ||
      incarnation->phase == Phase::kDown)
    return;
  incarnation->receipt = std::move(receipt);
}

void Supervisor::OnExited(size_t place, uint32_t number, const ExitStatus& status) {
  Incarnation* const incarnation = Find(place, number);
  if (incarnation == nullptr || incarnation->phase == Phase::kWaiting ||
      incarnation->phase == Phase::kDown)
    return;
  Member& member = members_[place];
  incarnation->stage = Stage::kStopped;
  if (IsStopping(lifecycle_.stage())) {
    Ended(member, *incarnation, status);
    SetPhase(*incarnation, Phase::kDown);
  } else if (IsSuccessor(member, *incarnation)) {
    SuccessorFailed(member, FailureOf(*incarnation, status));
  } else if (incarnation != &member) {
    Ended(member, *incarnation, status);
    observer_.Retired(*incarnation->receipt);
    std::erase_if(member.retired, [&](const Incarnation& each) { return &each == incarnation; });
  } else {
    Failed(member, status);
  }
  FollowProcesses();
}

std::string Supervisor::FailureOf(const Incarnation& incarnation, const ExitStatus& status) const {
  if (!incarnation.start_error.empty()) return incarnation.start_error;
  if (incarnation.killed) return "not ready within " + FormatDuration(options_.ready);
  return Describe(status);
}

// A process has ended that nobody had asked to.
void Supervisor::Failed(Member& member, const ExitStatus& status) {
  if (member.removed) return SetPhase(member, Phase::kDown);
  const bool first_start = lifecycle_.stage() == Stage::kStarting;
  const Duration lived = member.accepting_since == kNever
                             ? Duration::zero()
                             : Duration(clock_.Now() - member.accepting_since);
  member.last_failure = FailureOf(member, status);
  member.last_failed = member.number;
  member.receipt.reset();
  const std::string what = "process " + member.spec.name + ": " + member.last_failure;
  if (member.successor) {
    log_(LogLevel::kWarning, what + "; its successor takes over when it is ready");
    SetPhase(member, Phase::kDown);
    if (member.successor->took_over) Promote(member);
    return;
  }
  if (member.added) {
    SetPhase(member, Phase::kDown);
    member.removed = true;
    member.spec.make = nullptr;
    return ChangeIsOver(member.spec.name, member.last_failure, 0);
  }
  if (first_start) {
    SetPhase(member, Phase::kDown);
    // What it said itself is in the log already.
    if (member.start_error.empty()) log_(LogLevel::kError, what);
    start_error_ = Error{member.bad_configuration ? Code::kInvalidArgument : Code::kInternal, what};
    OnRequest(RequestNow({.kind = Cause::Kind::kProcess,
                          .who = member.spec.name,
                          .reason = "cannot start: " + member.last_failure},
                         clock_));
    return;
  }
  const RestartPolicy policy = member.spec.restart;
  if (policy == RestartPolicy::kStayDown ||
      (policy == RestartPolicy::kOnFailure && status.clean())) {
    SetPhase(member, Phase::kDown);
    member.stays_down = true;
    log_(LogLevel::kWarning, what + "; it stays down by its restart policy");
    return;
  }
  ++member.restarts;
  const Duration wait = member.back_off.Next(lived);
  SetPhase(member, Phase::kWaiting, After(clock_.Now(), wait));
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
  const auto stop = [&](Incarnation& incarnation) {
    switch (incarnation.phase) {
      case Phase::kStarting:
      case Phase::kRunning: SetPhase(incarnation, Phase::kStopping); [[fallthrough]];
      case Phase::kStopping:
        incarnation.until = kNever;  // the plan's end is the daemon's
        incarnation.process->BeginStop(ledger.plan(), ledger.entries());
        break;
      case Phase::kWaiting: SetPhase(incarnation, Phase::kDown); break;
      case Phase::kDown: break;
    }
  };
  for (Member& member : members_) {
    // Where a successor settles, the old one may have addresses that it has not: both serve the delay.
    const bool paused = member.successor && member.successor->took_over;
    if (paused && member.phase == Phase::kRunning) member.process->Accept(true);
    ForEachIncarnation(member, stop);
  }
}

bool Supervisor::AllAtLeast(Stage stage) const {
  bool all = true;
  for (const Member& member : members_) {
    ForEachIncarnation(member, [&](const Incarnation& incarnation) {
      all = all && (incarnation.phase == Phase::kDown || incarnation.stage >= stage);
    });
  }
  return all;
}

bool Supervisor::AllDown() const {
  bool all = true;
  for (const Member& member : members_) {
    ForEachIncarnation(member, [&](const Incarnation& incarnation) {
      all = all && incarnation.phase == Phase::kDown;
    });
  }
  return all;
}

// Moves the daemon's own stage after the processes': it is the one of the slowest.
void Supervisor::FollowProcesses() {
  const Instant now = clock_.Now();
  switch (lifecycle_.stage()) {
    case Stage::kStarting:
      if (std::all_of(members_.begin(), members_.end(),
                      [](const Member& member) { return member.phase == Phase::kRunning; })) {
        for (Member& member : members_) Accept(member);
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
  const auto end = [](Incarnation& incarnation) {
    if (incarnation.phase == Phase::kDown) return;
    incarnation.killed = true;
    incarnation.process->Kill();
  };
  for (Member& member : members_) ForEachIncarnation(member, end);
}

void Supervisor::OnTick() {
  const Instant now = clock_.Now();
  // By number: what comes of it may add one.
  for (size_t i = 0; i < members_.size(); ++i) {
    Member& member = members_[i];
    if (member.phase == Phase::kWaiting && member.until <= now) BeginStart(member);
    ForEachIncarnation(member, [&](Incarnation& incarnation) {
      const bool overdue =
          incarnation.phase == Phase::kStarting || incarnation.phase == Phase::kStopping;
      if (!overdue || incarnation.until > now) return;
      incarnation.until = kNever;
      incarnation.killed = true;
      incarnation.process->Kill();
    });
    if (member.successor && member.successor->took_over && member.successor->until <= now) {
      Promote(member);
    }
  }
  Apply(lifecycle_.Advance(now));
  FollowProcesses();
}

Instant Supervisor::next_instant() const {
  if (finished_) return kNever;
  Instant next = std::min(lifecycle_.next_instant(), last_patience_);
  for (const Member& member : members_) {
    ForEachIncarnation(
        member, [&](const Incarnation& incarnation) { next = std::min(next, incarnation.until); });
  }
  return next;
}

Result<bool> Supervisor::SetDraining(const std::string& server, bool draining, const Cause& by) {
  std::string names;
  for (Member& member : members_) {
    if (member.removed) continue;
    for (const std::string& name : member.spec.servers) {
      names += (names.empty() ? "" : ", ") + name;
      if (name != server) continue;
      if (IsStopping(lifecycle_.stage())) {
        return Fail(Code::kFailedPrecondition, "a shutdown is in progress; every server drains");
      }
      if (member.process != nullptr && member.process->drainable() == nullptr) {
        return Fail(Code::kUnimplemented, "process " + member.spec.name +
                                              " cannot drain its servers; stop or replace it");
      }
      const bool changed = draining
                               ? draining_.try_emplace(server, Draining{by, clock_.Now()}).second
                               : draining_.erase(server) > 0;
      if (changed) {
        ForEachIncarnation(member, [&](Incarnation& incarnation) {
          const bool living =
              incarnation.phase == Phase::kStarting || incarnation.phase == Phase::kRunning;
          Drainable* const drainable = living ? incarnation.process->drainable() : nullptr;
          if (drainable != nullptr) drainable->SetDraining(server, draining);
        });
        log_(LogLevel::kInfo,
             "server " + server +
                 (draining ? ": draining, requested by " : ": draining lifted by ") + Describe(by));
        observer_.Changed();
      }
      return changed;
    }
  }
  return Fail(Code::kNotFound, "no server \"" + server + "\"; there are: " + names);
}

}  // namespace lastcall
