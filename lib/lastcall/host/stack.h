// What another thread of this process is doing, by the names of its functions.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

namespace lastcall {

// The frames of thread `id`, innermost first: "Prices::Watch(…) in prices.so", or file and offset
// where no name is known; where it goes on, or where there is nothing, the last says why: "(it goes
// on in code without frame rules (CFI))". Never disturbs the thread: see threads/thread_stack.h.
// Blocks: where the thread has to answer, a fifth of a second at most. Threads: one at a time.
std::vector<std::string> StackOf(pid_t id);

// Every thread of this process but the caller's, with its name.
struct ThreadStack {
  pid_t id = 0;
  std::string name;
  std::vector<std::string> frames;
};
std::vector<ThreadStack> AllStacks();

}  // namespace lastcall
