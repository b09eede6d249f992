// Waits for the turns of those who are told to leave, as the plan has them at each moment.
//
//   LeaveTurns turns(clock, termination, spread);
//   if (!turns.AwaitBegin(end)) return;
//   turns.Begin(calls.size());
//   for (Call& call : calls) if (turns.AwaitNext(end)) call.TellToLeave();
#pragma once

#include <condition_variable>
#include <cstddef>
#include <mutex>
#include <stop_token>

#include <lastcall/base/clock.h>
#include <lastcall/event/subscription.h>
#include <lastcall/lifecycle/leave_spread.h>
#include <lastcall/lifecycle/termination.h>

namespace lastcall {

// Threads: one, but that `end` may be requested in any.
class LeaveTurns {
 public:
  LeaveTurns(const Clock& clock, Termination termination, LeaveSpread spread);

  // Block: until it is time to look who is there, or the next one's turn. False: `end` was requested.
  bool AwaitBegin(const std::stop_token& end);
  bool AwaitNext(const std::stop_token& end);
  // So many are there.
  void Begin(size_t count) { spread_.Begin(count, clock_.Now()); }

 private:
  bool Await(Instant (LeaveSpread::*due)() const, const std::stop_token& end);

  const Clock& clock_;
  const Termination termination_;
  LeaveSpread spread_;
  std::mutex mutex_;
  std::condition_variable_any changed_;
  bool moved_ = true;
  Subscription subscription_;  // last: its callback uses the others
};

}  // namespace lastcall
