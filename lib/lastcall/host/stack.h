// What another thread of this process is doing, by the names of its functions.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

namespace lastcall {

// Innermost first: "Prices::Watch(…) in prices.so", or file and offset where no name is known.
struct NamedStack {
  std::vector<std::string> frames;
  std::string why_not;  // why there are none, or no more; empty: they are all there

  // For a report: the frames, and then why there are no more, in brackets.
  std::vector<std::string> Lines() const;
};

// Of thread `id`, which is never disturbed: see threads/thread_stack.h.
// Blocks: where the thread has to answer, a fifth of a second at most; and reads files, for the
// names. Threads: one at a time.
NamedStack NamedStackOf(pid_t id);

// Its lines.
std::vector<std::string> StackOf(pid_t id);

// Every thread of this process but the caller's, with its name.
struct ThreadStack {
  pid_t id = 0;
  std::string name;
  std::vector<std::string> frames;  // lines
};
std::vector<ThreadStack> AllStacks();

}  // namespace lastcall
