// How a member is changed while it serves: a successor starts beside the old one, takes over its
// sockets, and only then does the old one retire.
#include <algorithm>
#include <utility>

#include "lastcall/supervisor/member.h"

namespace lastcall {
namespace {

// A retired incarnation ends itself at its last instant; one that does not is killed this much later.
constexpr Duration kOverdue = std::chrono::seconds(1);

}  // namespace

void Member::BeginAdd() {
  added_ = true;
  BeginStart();
}

void Member::BeginReplace(const ProcessSpec& spec, const Cause& by) {
  // One that waits to be started again need not wait any longer.
  if (current_.phase == Phase::kWaiting) SetPhase(current_, Phase::kDown);
  successor_.emplace();
  successor_->spec = spec.make ? spec : spec_;
  successor_->by = by;
  Begin(*successor_, successor_->spec);
}

void Member::Remove(const Cause& by) {
  removed_ = true;
  spec_.make = nullptr;  // and the sockets that it holds
  if (current_.phase == Phase::kWaiting) SetPhase(current_, Phase::kDown);
  if (current_.phase != Phase::kDown) Retire(by, false);
  context_.owner.ChangeIsOver(*this, "");
}

// The successor is ready: it accepts, the old one stays able to for a while.
void Member::TakeOver() {
  Accept(*successor_);
  successor_->took_over = true;
  if (current_.phase != Phase::kRunning) return Promote();
  current_.process->Accept(false);
  successor_->until = After(context_.clock.Now(), context_.options.settle);
}

// The successor has proved itself; the old one retires, if it is still there.
void Member::Promote() {
  const Cause by = successor_->by;
  if (current_.phase != Phase::kDown) Retire(by, true);
  spec_ = std::move(successor_->spec);
  current_ = std::move(static_cast<Incarnation&>(*successor_));
  current_.until = kNever;
  stays_down_ = false;
  successor_.reset();
  replace_frozen_ = kNever;
  if (!current_.frozen.empty()) JudgeFrozen(current_);  // while it settled
  context_.owner.ChangeIsOver(*this, "");
}

void Member::SuccessorFailed(const std::string& why) {
  const bool took_over = successor_->took_over;
  const uint32_t number = successor_->number;
  successor_.reset();
  const bool gone = current_.phase == Phase::kDown;
  const bool again = gone && !stays_down_;
  context_.log(LogLevel::kError, "process " + spec_.name + ": incarnation " +
                                     std::to_string(number) + " " +
                                     (took_over ? "did not settle: " : "did not start: ") + why +
                                     (again  ? "; the old one is restarted"
                                      : gone ? "; the process stays down"
                                             : "; the old one goes on"));
  if (again) {
    ++history_.restarts;
    BeginStart();
  }
  if (IsFrozen(current_.number)) JudgeFrozen(current_);  // still
  // One that starts or stops goes on from its own event.
  if (took_over && current_.phase == Phase::kRunning) current_.process->Accept(true);
  context_.owner.ChangeIsOver(*this, why);
}

// The current incarnation goes to the retired ones, with a plan of its own.
void Member::Retire(const Cause& by, bool replaced) {
  const MemberOptions& options = context_.options;
  Incarnation& last = retired_.emplace_back(std::exchange(current_, Incarnation{}));
  last.replaced_by = Describe(by);
  last.until = kNever;
  // Hurried: more of them than may be kept, oldest first.
  const size_t surplus = retired_.size() - std::min(retired_.size(), options.keep);
  for (size_t i = 0; i < retired_.size(); ++i) {
    Incarnation& each = retired_[i];
    const bool hurried = i < surplus;
    if (!hurried && &each != &last) continue;
    const bool frozen = !each.frozen.empty() && spec_.frozen == FrozenPolicy::kReplace;
    const Duration grace = frozen ? std::min(options.retire, FrozenLimit::kGrace) : options.retire;
    Ledger ledger({.delay = Duration::zero(),
                   .grace = hurried ? Duration::zero() : grace,
                   .cancel = options.shutdown.cancel});
    Request request = RequestNow(by, context_.clock);
    if (hurried) request.cause.reason = "more retired incarnations than [reload] keep";
    ledger.Add(std::move(request), Stage::kServing);
    const Plan& plan = ledger.plan();
    const Instant until = plan.end == kNever ? kNever : After(plan.end, kOverdue);
    SetPhase(each, Phase::kStopping, std::min(until, each.until));
    if (replaced && &each == &last) each.process->BeginRetire(plan, ledger.entries());
    if (hurried || !replaced) each.process->BeginStop(plan, ledger.entries());
  }
}

}  // namespace lastcall
