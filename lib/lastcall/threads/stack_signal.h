// Asks a thread of this process for its registers and the top of its stack, by a signal. What the
// handler does is little and always safe: no lock, no memory of its own, no look at what the stack
// means. Whether the thread may be sent a signal is for the caller to know.
#pragma once

#include <sys/types.h>

#include <functional>
#include <optional>

#include <lastcall/threads/registers.h>
#include <lastcall/threads/stack_walk.h>
#include <lastcall/threads/thread_stack.h>

namespace lastcall {

// Of a thread's stack, from where it is on.
inline constexpr size_t kCopiedStack = 64 * 1024;

// Whether the thread's mask holds the signal back. Empty: not known.
// Blocks: one that was asked just now holds it back until its handler is over; 20 ms at most.
std::optional<bool> BlocksStackSignal(pid_t thread);

// `read` sees the copy, and what it makes of it is the answer; where there is none, why.
// Blocks: until the thread has answered, a fifth of a second at most. Threads: any, one at a time.
TakenStack AskForStack(pid_t thread,
                       const std::function<TakenStack(const Registers&, const ReadWord&)>& read);

}  // namespace lastcall
