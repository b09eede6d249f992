// One look at a thread of this process: what the kernel tells of it at one instant. Two of them say
// what it is doing (doing.h).
//
//   const ThreadSample before = Look(thread);  …  const Doing doing = Judge(before, Look(thread));
//
// Of one's own threads the kernel tells everything, whatever ProtectProc, Yama or seccomp say of
// others'. A file that is missing or refused is no error: what it would have said stays unknown, and
// `why` says why.
#pragma once

#include <sys/types.h>

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <lastcall/base/clock.h>

namespace lastcall {

// Where a thread is, as /proc/self/task/T/syscall says.
struct KernelPlace {
  enum class Kind : uint8_t {
    kUnknown,
    kAwake,   // runs, or waits for a processor
    kCall,    // sleeps in a system call
    kNoCall,  // sleeps, but not in a system call: it waits for a page of memory
  };

  Kind kind = Kind::kUnknown;
  long number = -1;
  std::array<uint64_t, 6> arguments{};
  uint64_t stack_pointer = 0;  // of kCall and kNoCall: where it left its own code
  uint64_t instruction = 0;
  std::string why;  // of kUnknown

  // The same sleep, as far as that can be seen from here.
  bool operator==(const KernelPlace&) const = default;
};

// What the scheduler has counted, as /proc/self/task/T/schedstat says.
struct Turns {
  Duration waited{};   // ready to run, without a processor; a wait that lasts is not in it yet
  uint64_t count = 0;  // how often it was given one

  bool operator==(const Turns&) const = default;
};

struct ThreadSample {
  pid_t thread = 0;
  Instant at{};
  bool gone = false;
  std::optional<Duration> ran;  // its CPU time
  std::optional<Turns> turns;
  char state = '?';  // R, S, D, T (stopped), t (held by a debugger), … as proc(5) has it
  KernelPlace place;
  std::string sleeps_at;  // the kernel's function, where it is known: "pipe_read"
};

// Some tens of microseconds, on a busy machine more. Needs a free descriptor. Threads: any.
ThreadSample Look(pid_t thread);

// The CPU time alone, which takes no descriptor and one microsecond: enough to see who is busy.
// Empty: it is gone. Threads: any.
std::optional<Duration> CpuTimeOf(pid_t thread);

// What stands in the files, for any text at all.
KernelPlace ParseKernelPlace(std::string_view text);
std::optional<Turns> ParseTurns(std::string_view text);
char ParseState(std::string_view text);  // of stat; '?': unknown

// A file of proc(5) for one's own thread: its text, or why there is none (as `why`).
struct ThreadFile {
  std::string text;
  std::string why;
  bool gone = false;  // with the thread
};
ThreadFile ReadThreadFile(pid_t thread, std::string_view name);

}  // namespace lastcall
