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

// The child has `inherited` as descriptor 3, /dev/null as standard input, our standard output and
// error and nothing else, our environment without what systemd told us alone, no signal blocked or
// ignored, and a process group of its own, so that a terminal's Ctrl-C does not reach it.
// Fails: kInternal, with the program.
Result<Child> Spawn(const std::string& program, int inherited);

}  // namespace lastcall
