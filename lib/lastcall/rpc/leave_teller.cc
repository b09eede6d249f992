#include "lastcall/rpc/leave_teller.h"

#include <utility>

#include "lastcall/lifecycle/leave_turns.h"
#include "lastcall/rpc/call_registry.h"
#include "lastcall/rpc/live_call.h"

namespace lastcall {

LeaveTeller::LeaveTeller(const Clock& clock, Termination termination, CallRegistry& calls)
    : clock_(clock), termination_(std::move(termination)), calls_(calls) {}

void LeaveTeller::Begin(LeaveSpread spread) {
  if (begun_.exchange(true)) return;
  // Not only when the thread has its turn: who begins after this has returned is told.
  if (spread.from() <= clock_.Now()) calls_.TellNewcomers();
  thread_.Begin([this, spread](const std::stop_token& end) { Tell(end, spread); });
}

void LeaveTeller::Tell(const std::stop_token& end, LeaveSpread spread) {
  LeaveTurns turns(clock_, termination_, spread);
  if (!turns.AwaitBegin(end)) return;
  calls_.TellNewcomers();
  const auto calls = calls_.living().Snapshot();
  turns.Begin(calls.size());
  for (const auto& call : calls) {
    if (!turns.AwaitNext(end)) return;
    call->TellToLeave();
  }
}

}  // namespace lastcall
