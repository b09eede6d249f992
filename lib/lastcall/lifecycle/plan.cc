#include "lastcall/lifecycle/plan.h"

#include <algorithm>
#include <utility>

namespace lastcall {
namespace {

// `instant` moved forward by `shift`, which is never negative.
Instant Earlier(Instant instant, Duration shift) {
  return instant == kNever ? kNever : instant - shift;
}

}  // namespace

Duration Budget::Total() const {
  Duration total = Duration::zero();
  for (Duration length : {delay, grace, cancel}) {
    length = std::max(length, Duration::zero());
    total = length >= kForever - total ? kForever : total + length;
  }
  return total;
}

Request RequestNow(Cause cause, const Clock& clock) {
  Request request;
  request.cause = MadeSafe(std::move(cause));
  Timestamp(request, clock);
  return request;
}

void Timestamp(Request& request, const Clock& clock) {
  if (request.at != Instant{}) return;
  request.at = clock.Now();
  request.wall = clock.Wall();
}

Instant Plan::EndOf(Stage stage) const {
  switch (stage) {
    case Stage::kDelay: return grace;
    case Stage::kGrace: return cancel;
    case Stage::kCancel: return end;
    default: return kNever;
  }
}

Instant Plan::BeginOf(Stage stage) const {
  switch (stage) {
    case Stage::kGrace: return grace;
    case Stage::kCancel: return cancel;
    case Stage::kStopped: return end;
    default: return kNever;
  }
}

Plan Minimum(const Plan& a, const Plan& b) {
  return {std::min(a.grace, b.grace), std::min(a.cancel, b.cancel), std::min(a.end, b.end)};
}

Plan Resolve(const Request& request, const Budget& configured, Stage stage) {
  const auto length = [&](const std::optional<Duration>& given, Duration otherwise, Stage of) {
    return given.value_or(stage > of || stage == Stage::kStarting ? Duration::zero() : otherwise);
  };
  Plan plan;
  plan.grace = After(request.at, length(request.delay, configured.delay, Stage::kDelay));
  plan.cancel = After(plan.grace, length(request.grace, configured.grace, Stage::kGrace));
  plan.end = After(plan.cancel, request.cancel.value_or(configured.cancel));
  return plan;
}

bool Ledger::Add(Request request, Stage stage) {
  const Plan before = plan_;
  if (request.skip && IsStopping(stage)) {
    EndedEarly(stage, request.at);
  } else {
    plan_ = Minimum(plan_, Resolve(request, configured_, stage));
  }
  const bool moved = plan_ != before;
  entries_.push_back({std::move(request), moved});
  if (entries_.size() > kMostEntries) {
    const auto second = entries_.begin() + 1;
    const auto idle =
        std::find_if(second, entries_.end() - 1, [](const Entry& entry) { return !entry.moved; });
    entries_.erase(idle == entries_.end() - 1 ? second : idle);
    ++left_out_;
  }
  return moved;
}

bool Ledger::Adopt(const Plan& plan, std::vector<Entry> entries) {
  const Plan before = plan_;
  plan_ = Minimum(plan_, plan);
  entries_ = std::move(entries);
  return plan_ != before;
}

void Ledger::EndedEarly(Stage stage, Instant now) {
  const Instant planned = plan_.EndOf(stage);
  if (planned <= now) return;
  const auto follow = [&](Instant instant) {
    return planned == kNever ? instant : Earlier(instant, planned - now);
  };
  switch (stage) {
    case Stage::kDelay: plan_ = {now, follow(plan_.cancel), follow(plan_.end)}; break;
    case Stage::kGrace: plan_ = {plan_.grace, now, follow(plan_.end)}; break;
    case Stage::kCancel: plan_.end = now; break;
    default: break;
  }
  // A stage without end that ended all the same: what follows has its configured length.
  if (planned == kNever && stage == Stage::kDelay) plan_.cancel = After(now, configured_.grace);
  if (planned == kNever && stage <= Stage::kGrace) {
    plan_.end = After(plan_.cancel, configured_.cancel);
  }
}

}  // namespace lastcall
