// Whether the threads of this process have come to the end of what they were at, however late the
// scheduler lets them.
//
// A margin of time says little about that on a machine with more to do than it can: a thread may
// have read from a socket and not have run since. But the kernel knows: a thread that sleeps, or has
// slept, had nothing in hand, or has handed it on; and one that never sleeps has done so after a few
// milliseconds of CPU of its own.
#pragma once

#include <sys/types.h>

#include <map>
#include <optional>

#include <lastcall/base/clock.h>

namespace lastcall {

class OwnThreads {
 public:
  // How often each of them must have come to an end, for one hands on to another, or waits for a
  // lock that another has: gRPC's way from a socket to a call takes two of these at most.
  static constexpr int kRounds = 8;

  // From now on.
  void Begin();
  // Whether all but the calling one have come to an end so often since. Asks proc(5), which takes
  // some microseconds for each thread, and a free descriptor.
  bool Rested();
  // Whether proc(5) said anything.
  bool known() const { return known_; }

 private:
  struct Thread {
    bool sleeps = false;
    unsigned long long slept = 0;  // so often
    Duration ran{};
  };
  using Threads = std::map<pid_t, Thread>;

  // Empty: proc(5) does not say.
  static std::optional<Threads> Look();
  static bool CameToAnEnd(const Thread& before, const Thread& now);

  bool known_ = false;
  int rounds_ = 0;
  Threads before_;  // those that have not in this round, as it began
};

}  // namespace lastcall
