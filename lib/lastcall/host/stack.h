// What another thread of this process is doing.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

namespace lastcall {

// The frames of thread `id`, innermost first: "Prices::Watch(…) in prices.so", or file and offset
// where no name is known. Empty when it is gone or does not answer within a fifth of a second (it
// hangs in the kernel, or finds no processor). One caller at a time; uses the signal SIGRTMAX - 1.
std::vector<std::string> StackOf(pid_t id);

// Every thread of this process but the caller's, with its name.
struct ThreadStack {
  pid_t id = 0;
  std::string name;
  std::vector<std::string> frames;
};
std::vector<ThreadStack> AllStacks();

}  // namespace lastcall
