// The stack of another thread of this process, in a way that it never notices.
//
// A thread that sleeps is left asleep: the kernel says where it left its own code, and from there on
// the frames are read out of its memory. A thread that runs is sent a signal (SIGRTMAX - 1), whose
// handler copies its registers and the top of its stack, and nothing else; the copy is read in the
// thread that asks. Where even that might be noticed, the answer is why there is no stack, or no more
// of it. See docs/decisions/2026-11-30-stacks-that-never-disturb.md.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

namespace lastcall {

struct TakenStack {
  // Innermost first: where it was, and then the addresses that the calls return to; at most
  // kMostFrames. SymbolNames (symbols.h) has their names.
  std::vector<uint64_t> frames;
  // Why there are none, or no more; empty: they are all there.
  std::string why_not;
  bool by_signal = false;
};

// Blocks: until the thread has answered, where it runs; a fifth of a second at most.
// Threads: any, one at a time.
TakenStack TakeStack(pid_t thread);

}  // namespace lastcall
