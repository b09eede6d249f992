// Which exit code a failure of the daemon is; see lastcall/base/exit_code.h.
#pragma once

#include <lastcall/base/exit_code.h>
#include <lastcall/base/result.h>

namespace lastcall {

ExitCode ExitCodeFor(Code code);

}  // namespace lastcall
