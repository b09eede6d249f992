// A process that says it is frozen: it is reported, or replaced as by a restart, but sooner done with.
#include <algorithm>
#include <utility>

#include "lastcall/supervisor/member.h"

namespace lastcall {

void Member::OnFrozen(uint32_t number, const std::string& why) {
  Incarnation* const incarnation = Find(number);
  if (incarnation == nullptr || incarnation->phase != Phase::kRunning) return;
  if (incarnation->frozen.empty() == why.empty()) return;
  incarnation->frozen = why;
  if (why.empty()) {
    if (incarnation == &current_) replace_frozen_ = kNever;
    context_.log(LogLevel::kInfo, "process " + spec_.name + " is frozen no more (incarnation " +
                                      std::to_string(number) + ")");
  } else {
    JudgeFrozen(*incarnation);
  }
  context_.owner.Moved();
}

std::string Member::FrozenText(const Incarnation& incarnation) const {
  return "process " + spec_.name + " is frozen: " + incarnation.frozen;
}

// Says what comes of it, and sees to that.
void Member::JudgeFrozen(const Incarnation& incarnation) {
  const std::string what = FrozenText(incarnation) + "; ";
  replace_frozen_ = kNever;
  if (spec_.frozen == FrozenPolicy::kReport) {
    return context_.log(LogLevel::kWarning,
                        what + "\"lastcallctl restart " + spec_.name +
                            "\" replaces it, and with frozen = \"replace\" in [process." +
                            spec_.name + "] lastcalld would");
  }
  // Whoever replaces or stops it does so already.
  if (!MayReplaceFrozen()) return context_.log(LogLevel::kWarning, what + "its end has begun");
  const Instant now = context_.clock.Now();
  const Instant allowed = history_.frozen.Next(now);
  replace_frozen_ = std::max(allowed, now + history_.back_off.Next(now - current_.accepting_since));
  if (allowed > now) {
    context_.log(LogLevel::kError, what + "it was replaced for that " +
                                       std::to_string(FrozenLimit::kMost) + " times within " +
                                       FormatDuration(FrozenLimit::kWithin) +
                                       ", and is not again for " + FormatDuration(allowed - now));
  }
}

bool Member::MayReplaceFrozen() const {
  return IsFrozen(current_.number) && !successor_ && !removed_ &&
         context_.owner.stage() == Stage::kServing;
}

bool Member::IsFrozen(uint32_t number) const {
  return current_.number == number && current_.phase == Phase::kRunning &&
         !current_.frozen.empty() && spec_.frozen == FrozenPolicy::kReplace;
}

// Order: the last thing of an event, for the replacement may begin in here.
void Member::ReplaceFrozen() {
  replace_frozen_ = kNever;
  if (!MayReplaceFrozen()) return;
  history_.frozen.Add(context_.clock.Now());
  context_.log(LogLevel::kWarning, FrozenText(current_) + "; replacing it (frozen = \"replace\")");
  context_.owner.ReplaceFrozen(*this);
}

}  // namespace lastcall
