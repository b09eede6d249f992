// Starting a child process, and waiting for its end.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include <lastcall/base/exit_status.h>
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
  std::string program;                        // a path
  std::vector<std::string> arguments;         // the program's name first
  std::vector<Descriptor> descriptors = {};   // beside standard input, output and error
  std::vector<std::string> environment = {};  // "NAME=value", beside ours
};

// The child has /dev/null as standard input, our standard output and error unless they are given,
// the descriptors and no others, our environment without what systemd told us alone, no signal
// blocked or ignored, and a process group of its own, so that a terminal's Ctrl-C does not reach it.
// Its owner, who is the caller, waits for it by WaitForExit.
// Fails: kInternal, with the program. Threads: any, as all here.
Result<Child> Spawn(const Command& command);

// The same for a child that the build before this one has spawned.
void Adopt(pid_t child);
// From now on nobody here is to hear of its end: ReapOrphan waits for it.
void Disown(pid_t child);
// How a child that was spawned or adopted has ended. Blocks: until it has. Order: once, after which
// its number may be another's.
ExitStatus WaitForExit(pid_t child);
// Waits for a child that has ended and has no owner, and says which. nullopt: there is none, or it
// cannot be seen yet, behind one with an owner or while one is spawned; SIGCHLD is sent once it can.
std::optional<pid_t> ReapOrphan();

// The texts as execve(2) wants them, a null behind the last. They must outlive the result.
std::vector<char*> Pointers(const std::vector<std::string>& texts);

}  // namespace lastcall
