#include "lastcall/lifecycle/lifecycle.h"

#include <algorithm>
#include <utility>

namespace lastcall {

void Lifecycle::Configure(Budget budget) {
  if (ledger_.empty()) ledger_ = Ledger(budget);
}

void Lifecycle::Enter(Stage next, Event why, Instant now, Changes& changes) {
  if (next == stage_) return;
  const Instant planned_end = plan().EndOf(stage_);
  if (IsStopping(stage_)) {
    records_.push_back({stage_, stage_planned_, now - stage_began_, why});
    if (now < planned_end) ledger_.EndedEarly(stage_, now);
  }
  changes.push_back({stage_, next, why, now});
  stage_ = next;
  stage_began_ = now;
  const Instant end = plan().EndOf(stage_);
  stage_planned_ = end == kNever ? kForever : std::max(Duration::zero(), Duration(end - now));
}

void Lifecycle::AdvanceInto(Instant now, Changes& changes) {
  while (next_instant() <= now) {
    // An overslept stage (a stopped process, a busy machine) ends when it is noticed, not before.
    Enter(Next(stage_, Event::kDeadlinePassed), Event::kDeadlinePassed, now, changes);
  }
}

Lifecycle::Changes Lifecycle::Happened(Event event, Instant now) {
  Changes changes;
  AdvanceInto(now, changes);
  Enter(Next(stage_, event), event, now, changes);
  AdvanceInto(now, changes);
  return changes;
}

Lifecycle::Changes Lifecycle::Advance(Instant now) {
  Changes changes;
  AdvanceInto(now, changes);
  return changes;
}

Lifecycle::Changes Lifecycle::RequestStop(Request request, Instant now, bool* moved) {
  const bool changed = ledger_.Add(std::move(request), stage_);
  if (moved != nullptr) *moved = changed;
  return Happened(Event::kStopRequested, now);
}

Lifecycle::Changes Lifecycle::Adopt(const Plan& plan, std::vector<Ledger::Entry> entries,
                                    Instant now) {
  ledger_.Adopt(plan, std::move(entries));
  return Happened(Event::kStopRequested, now);
}

bool Lifecycle::ran_out() const {
  return !records_.empty() && records_.back().stage == Stage::kCancel &&
         records_.back().ended_by == Event::kDeadlinePassed;
}

void Lifecycle::Complete(Receipt& receipt) const {
  receipt.requests = ledger_.entries();
  receipt.requests_left_out = ledger_.left_out();
  receipt.stages = records_;
  receipt.took = Duration::zero();
  for (const StageRecord& record : records_) receipt.took += record.took;
  receipt.exit_code = !receipt.stuck.empty()        ? kExitForced
                      : receipt.calls_cancelled > 0 ? kExitCallsCancelled
                                                    : kExitAllFinished;
}

}  // namespace lastcall
