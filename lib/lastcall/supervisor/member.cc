#include "lastcall/supervisor/member.h"

#include <algorithm>
#include <utility>

namespace lastcall {
namespace {

// It has a process, or had one a moment ago.
bool IsThere(const Incarnation& incarnation) {
  return incarnation.phase != Phase::kWaiting && incarnation.phase != Phase::kDown;
}

void KillProcess(Incarnation& incarnation) {
  incarnation.killed = true;
  incarnation.process->Kill();
}

}  // namespace

class Member::Events final : public ProcessEvents {
 public:
  Events(Member& member, uint32_t number) : member_(member), number_(number) {}

  void Ready() override { member_.OnReady(number_); }
  void StartFailed(const Error& error) override { member_.OnStartFailed(number_, error); }
  void StageReached(Stage stage) override { member_.OnStage(number_, stage); }
  void Frozen(const std::string& why) override { member_.OnFrozen(number_, why); }
  void Requested(Request request) override { member_.context_.owner.Requested(std::move(request)); }
  void Reported(Receipt receipt) override { member_.OnReceipt(number_, std::move(receipt)); }
  void Exited(const ExitStatus& status) override { member_.OnExited(number_, status); }

 private:
  Member& member_;
  const uint32_t number_;
};

template <class F>
void Member::ForEach(F action) {
  for (Incarnation& retired : retired_) action(retired);
  action(current_);
  if (successor_) action(static_cast<Incarnation&>(*successor_));
}

Member::Member(ProcessSpec spec, const MemberContext& context)
    : context_(context), spec_(std::move(spec)) {}

Member::Member(Resumed resumed, const MemberContext& context)
    : context_(context),
      spec_(std::move(resumed.spec)),
      history_(std::move(resumed.history)),
      current_(std::move(resumed.current)),
      retired_(std::move(resumed.retired)),
      stays_down_(resumed.stays_down),
      removed_(resumed.removed) {}

void Member::BeginStart() {
  stays_down_ = false;
  Begin(current_, spec_);
}

void Member::Resume() {
  ForEach([&](Incarnation& incarnation) {
    if (incarnation.process == nullptr) return;
    incarnation.process->Resume(std::make_shared<Events>(*this, incarnation.number));
  });
}

void Member::Begin(Incarnation& incarnation, const ProcessSpec& spec) {
  incarnation = Incarnation{};
  incarnation.number = ++history_.incarnations;
  incarnation.began = context_.clock.Now();
  SetPhase(incarnation, Phase::kStarting, After(incarnation.began, context_.options.ready));
  incarnation.process = spec.make(incarnation.number);
  incarnation.process->BeginStart(std::make_shared<Events>(*this, incarnation.number));
}

void Member::SetPhase(Incarnation& incarnation, Phase phase, Instant until) {
  incarnation.phase = phase;
  incarnation.phase_began = context_.clock.Now();
  incarnation.until = until;
}

void Member::Accept(Incarnation& incarnation) {
  incarnation.accepting_since = context_.clock.Now();
  incarnation.process->Accept(true);
}

void Member::SetDraining(const std::string& server, bool draining) {
  ForEach([&](Incarnation& incarnation) {
    const bool living =
        incarnation.phase == Phase::kStarting || incarnation.phase == Phase::kRunning;
    Drainable* const drainable = living ? incarnation.process->drainable() : nullptr;
    if (drainable != nullptr) drainable->SetDraining(server, draining);
  });
}

void Member::SetSpec(ProcessSpec spec) {
  if (successor_) return;
  const FrozenPolicy before = std::exchange(spec_, std::move(spec)).frozen;
  if (spec_.frozen != before && !current_.frozen.empty()) JudgeFrozen(current_);
}

Incarnation* Member::Find(uint32_t number) {
  Incarnation* found = nullptr;
  ForEach([&](Incarnation& incarnation) {
    if (incarnation.number == number) found = &incarnation;
  });
  return found;
}

bool Member::IsSuccessor(const Incarnation& incarnation) const {
  return successor_ && &*successor_ == &incarnation;
}

void Member::OnReady(uint32_t number) {
  Incarnation* const incarnation = Find(number);
  if (incarnation == nullptr || incarnation->phase != Phase::kStarting || incarnation->killed) {
    return;
  }
  SetPhase(*incarnation, Phase::kRunning);
  incarnation->stage = std::max(incarnation->stage, Stage::kServing);
  context_.log(LogLevel::kInfo,
               "process " + spec_.name + " is ready (incarnation " + std::to_string(number) + ")");
  if (IsSuccessor(*incarnation)) {
    TakeOver();
  } else if (context_.owner.stage() == Stage::kServing) {
    Accept();
    if (std::exchange(added_, false)) context_.owner.ChangeIsOver(*this, "");
  }
  // At the first start all begin together: when one of them cannot, no call of another must end.
  context_.owner.Moved();
}

void Member::OnStartFailed(uint32_t number, const Error& error) {
  Incarnation* const incarnation = Find(number);
  if (incarnation == nullptr) return;
  if (incarnation->phase != Phase::kStarting && incarnation->phase != Phase::kStopping) return;
  incarnation->start_error = error.message;
  incarnation->bad_configuration = IsConfiguration(error.code);
}

void Member::OnStage(uint32_t number, Stage stage) {
  Incarnation* const incarnation = Find(number);
  if (incarnation == nullptr || stage <= incarnation->stage) return;
  incarnation->stage = stage;
  // It stops although nobody here asked: a signal sent to it alone. The plan is its own.
  if (IsStopping(stage) && incarnation->phase == Phase::kRunning) {
    SetPhase(*incarnation, Phase::kStopping);
    // Nobody else would accept until it has gone.
    if (IsSuccessor(*incarnation) && current_.phase == Phase::kRunning) {
      current_.process->Accept(true);
    }
  }
  context_.owner.Moved();
}

void Member::OnReceipt(uint32_t number, Receipt receipt) {
  Incarnation* const incarnation = Find(number);
  if (incarnation != nullptr && IsThere(*incarnation)) incarnation->receipt = std::move(receipt);
}

void Member::OnExited(uint32_t number, const ExitStatus& status) {
  Incarnation* const incarnation = Find(number);
  if (incarnation == nullptr || !IsThere(*incarnation)) return;
  incarnation->stage = Stage::kStopped;
  if (IsStopping(context_.owner.stage())) {
    Complete(*incarnation, spec_.name, status);
    SetPhase(*incarnation, Phase::kDown);
  } else if (IsSuccessor(*incarnation)) {
    SuccessorFailed(FailureOf(*incarnation, status, context_.options.ready));
  } else if (incarnation != &current_) {
    Complete(*incarnation, spec_.name, status);
    context_.owner.Retired(*incarnation->receipt);
    std::erase_if(retired_, [&](const Incarnation& each) { return &each == incarnation; });
  } else {
    Failed(status);
  }
  context_.owner.Moved();
}

// The current one has ended, and nobody had asked it to.
void Member::Failed(const ExitStatus& status) {
  if (removed_) return SetPhase(current_, Phase::kDown);
  const Duration lived = current_.accepting_since == kNever
                             ? Duration::zero()
                             : Duration(context_.clock.Now() - current_.accepting_since);
  history_.last_failure = FailureOf(current_, status, context_.options.ready);
  history_.last_failed = current_.number;
  current_.receipt.reset();
  const std::string what = "process " + spec_.name + ": " + history_.last_failure;
  if (successor_) {
    context_.log(LogLevel::kWarning, what + "; its successor takes over when it is ready");
    SetPhase(current_, Phase::kDown);
    if (successor_->took_over) Promote();
  } else if (added_) {
    SetPhase(current_, Phase::kDown);
    removed_ = true;
    spec_.make = nullptr;
    context_.owner.ChangeIsOver(*this, history_.last_failure);
  } else if (context_.owner.stage() == Stage::kStarting) {
    SetPhase(current_, Phase::kDown);
    // What it said itself is in the log already.
    if (current_.start_error.empty()) context_.log(LogLevel::kError, what);
    const Code code = current_.bad_configuration ? Code::kInvalidArgument : Code::kInternal;
    context_.owner.CannotStart(*this, Error{code, what});
  } else {
    BeginRestart(status, lived, what);
  }
}

// Or not, by its policy.
void Member::BeginRestart(const ExitStatus& status, Duration lived, const std::string& what) {
  if (spec_.restart == RestartPolicy::kStayDown ||
      (spec_.restart == RestartPolicy::kOnFailure && status.clean())) {
    SetPhase(current_, Phase::kDown);
    stays_down_ = true;
    context_.log(LogLevel::kWarning, what + "; it stays down by its restart policy");
    return;
  }
  ++history_.restarts;
  const Duration wait = history_.back_off.Next(lived);
  SetPhase(current_, Phase::kWaiting, After(context_.clock.Now(), wait));
  context_.log(LogLevel::kWarning, what + "; restarting in " + FormatDuration(wait) +
                                       "; new connections queue in the kernel");
}

void Member::BeginStop(const Ledger& ledger) {
  replace_frozen_ = kNever;
  // Where a successor settles, the old one may have addresses that it has not: both serve the delay.
  const bool paused = successor_ && successor_->took_over;
  if (paused && current_.phase == Phase::kRunning) current_.process->Accept(true);
  ForEach([&](Incarnation& incarnation) {
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
  });
}

void Member::Kill() {
  ForEach([](Incarnation& incarnation) {
    if (incarnation.phase != Phase::kDown) KillProcess(incarnation);
  });
}

void Member::OnTick(Instant now) {
  if (current_.phase == Phase::kWaiting && current_.until <= now) BeginStart();
  ForEach([&](Incarnation& incarnation) {
    const bool bounded =
        incarnation.phase == Phase::kStarting || incarnation.phase == Phase::kStopping;
    if (!bounded || incarnation.until > now) return;
    incarnation.until = kNever;
    KillProcess(incarnation);
  });
  if (successor_ && successor_->took_over && successor_->until <= now) Promote();
  if (replace_frozen_ <= now) ReplaceFrozen();
}

Instant Member::next_instant() const {
  Instant next = replace_frozen_;
  ForEachIncarnation(
      *this, [&](const Incarnation& incarnation) { next = std::min(next, incarnation.until); });
  return next;
}

std::vector<Receipt> Member::TakeReceipts() {
  std::vector<Receipt> receipts;
  ForEach([&](Incarnation& incarnation) {
    if (incarnation.phase != Phase::kDown) {
      if (!incarnation.receipt) {
        incarnation.receipt = Receipt{.subject = spec_.name, .incarnation = incarnation.number};
      }
      incarnation.receipt->exit_code = kExitForced;
      incarnation.receipt->failure = "was killed and is not gone yet";
    }
    if (incarnation.receipt) receipts.push_back(std::move(*incarnation.receipt));
    incarnation.receipt.reset();
  });
  return receipts;
}

}  // namespace lastcall
