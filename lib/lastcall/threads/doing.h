// What a thread of this process does, told by evidence: two looks at it, and no guess.
//
//   Judge(before, after).…: on CPU 98 % · blocked in read of fd 17 · no processor for 2s · paused
#pragma once

#include <string>
#include <vector>

#include <lastcall/base/clock.h>
#include <lastcall/threads/thread_sample.h>

namespace lastcall {

struct Doing {
  enum class What : uint8_t {
    kUnknown,  // `why` says why
    kOnCpu,    // for `share` of the time between the looks
    kBlocked,  // it sleeps, at `place`
    kStarved,  // for `share` of the time it was ready to run and had no processor
    kPaused,   // stopped, by a signal or a debugger; `why` says which
    kGone,     // it has ended
  };

  What what = What::kUnknown;
  double share = 0;         // 0 to 1
  bool throughout = false;  // kBlocked: it slept in one piece from the first look to the second
  KernelPlace place;        // kBlocked: where, or why that is unknown
  std::string sleeps_at;    // kBlocked: the kernel's function, where it is known
  std::string why;
};

// Two looks at the same thread, the later one second. Total: for any two samples.
Doing Judge(const ThreadSample& before, const ThreadSample& after);

// A descriptor that a call waits for, with its name by DescribeFd.
struct NamedFd {
  int fd = -1;
  std::string name;
};

// "read", "system call 435"; empty where it sleeps in none.
std::string CallName(const KernelPlace& place);

// What DescribeFd says of each of DescriptorsOf.
std::vector<NamedFd> NamedDescriptorsOf(const KernelPlace& place);

// For people: "blocked in read of fd 17, tcp 10.0.0.5:5432, for 12s", "on CPU (98 %) for 12s". For
// how long is the caller's to know; zero: it is not said.
std::string Describe(const Doing& doing, const std::vector<NamedFd>& fds = {},
                     Duration length = Duration::zero());

}  // namespace lastcall
