#include "lastcall/host/frozen_judge.h"

#include <algorithm>

namespace lastcall {
namespace {

// All of those that go through the queue which the callback servers of a process share; one at least.
bool IsUnanswered(const std::vector<CanaryReport>& canaries) {
  const auto overdue = [](const CanaryReport& one) {
    return one.state == CanaryReport::State::kOverdue;
  };
  const auto callback = [](const CanaryReport& one) { return one.callback; };
  return std::any_of(canaries.begin(), canaries.end(), callback) &&
         std::all_of(canaries.begin(), canaries.end(),
                     [&](const CanaryReport& one) { return !callback(one) || overdue(one); });
}

// One that has no processor, or is stopped by a debugger, would go on if it could.
bool IsHeld(Doing::What what) {
  return what == Doing::What::kBlocked || what == Doing::What::kOnCpu;
}

}  // namespace

bool FrozenJudge::Suspects(const Evidence& evidence) {
  return evidence.serving && evidence.lateness == Lateness::Cause::kNone && !evidence.progress &&
         evidence.threads > 0 && evidence.held.size() == evidence.threads &&
         std::all_of(evidence.held.begin(), evidence.held.end(), IsHeld) &&
         IsUnanswered(evidence.canaries);
}

bool FrozenJudge::Look(const Evidence& evidence, Instant now) {
  // Who was late itself knows nothing of what happened meanwhile; nor that anything has thawed.
  const bool blind = evidence.serving && evidence.lateness != Lateness::Cause::kNone;
  if (blind && frozen_) return true;
  if (!Suspects(evidence)) {
    since_.reset();
  } else if (!since_) {
    since_ = now;
  }
  frozen_ = since_ && now - *since_ >= after_;
  return frozen_;
}

}  // namespace lastcall
