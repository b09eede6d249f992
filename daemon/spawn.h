// Starting a child process.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include <lastcall/base/result.h>
#include <lastcall/base/unique_fd.h>

namespace lastcall {

struct Child {
  pid_t pid = 0;
  UniqueFd pidfd;  // readable when it has ended
};

struct Descriptor {
  int ours = -1;
  int theirs = -1;
};

struct Command {
  std::string program;                       // a path
  std::vector<std::string> arguments;        // the program's name first
  std::vector<Descriptor> descriptors = {};  // beside standard input, output and error
  std::vector<std::string> environment = {};  // "NAME=value", beside ours
};

// The child has /dev/null as standard input, our standard output and error unless they are given,
// the descriptors and no others, our environment without what systemd told us alone, no signal
// blocked or ignored, and a process group of its own, so that a terminal's Ctrl-C does not reach it.
// Fails: kInternal, with the program.
Result<Child> Spawn(const Command& command);

// The texts as execve(2) wants them, a null behind the last. They must outlive the result.
std::vector<char*> Pointers(const std::vector<std::string>& texts);

}  // namespace lastcall
