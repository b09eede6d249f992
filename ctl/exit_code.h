// The exit codes of lastcallctl; scripts rely on them.
#pragma once

#include <lastcall/base/result.h>

namespace lastcall {

enum ExitCode : int {
  kExitDone = 0,
  kExitFailed = 1,  // also: calls were cancelled
  kExitUsage = 2,
  kExitNotServing = 3,
  kExitNoSuchName = 4,
  kExitRefused = 5,
  kExitUnreachable = 69,  // as sysexits(3) has it, and the next two
  kExitTimedOut = 75,
  kExitDenied = 77,
};

ExitCode ExitCodeFor(Code code);

}  // namespace lastcall
