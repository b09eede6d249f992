// Whether the whole process stood still: SIGSTOP, a debugger, a virtual machine that was held. No
// thread can see that of another, for it stands still as well; but who wanted to look at an instant
// and was late knows how late, and why.
#pragma once

#include <string>

#include <lastcall/base/clock.h>

namespace lastcall {

// Two looks of a thread at itself: at the first it went to sleep, until `planned` and no longer.
struct Wake {
  Instant planned{};
  Instant woke{};
  Duration queued{};  // between the looks it was ready to run without a processor: Turns::waited
  Duration process_ran{};  // CPU time of the whole process between the looks
};

struct Lateness {
  enum class Cause : uint8_t {
    kNone,     // on time, or as good as
    kStarved,  // it was woken, and found no processor
    kPaused,   // it was not woken, and nothing of the process ran
    kHeldUp,   // it was not woken, while others ran: it alone was held up, or the machine was
  };

  Cause cause = Cause::kNone;
  Duration length{};  // of the pause, or of the wait for a processor
};

// Below this, nobody is late.
inline constexpr Duration kLateEnough = std::chrono::milliseconds(100);

Lateness JudgeLateness(const Wake& wake);

// "the whole process stood still for 12s"; empty for kNone.
std::string Describe(const Lateness& lateness);

// CPU time of all threads of this process, those that have ended included.
Duration ProcessCpuTime();

}  // namespace lastcall
