// LeaveTeller: tells the calls of a server to leave, each in its turn.
#pragma once

#include <atomic>
#include <stop_token>

#include <lastcall/base/clock.h>
#include <lastcall/event/standby.h>
#include <lastcall/lifecycle/leave_spread.h>
#include <lastcall/lifecycle/termination.h>

namespace lastcall {

class CallRegistry;

class LeaveTeller {
 public:
  // Fails: throws std::system_error where no thread can be made.
  LeaveTeller(const Clock& clock, Termination termination, CallRegistry& calls);
  // Those who wait for their turn are not told any more. Blocks: until the one is whose turn it is.
  ~LeaveTeller() = default;

  // Tells the calls to leave, as `spread` has it while the plan moves, oldest first; those that begin
  // once that has begun are told at once. Does not block. Once: the next ones are ignored. Threads: any.
  void Begin(LeaveSpread spread);

 private:
  void Tell(const std::stop_token& end, LeaveSpread spread);

  const Clock& clock_;
  const Termination termination_;
  CallRegistry& calls_;
  std::atomic<bool> begun_{false};
  Standby thread_;  // last: it uses the others
};

}  // namespace lastcall
