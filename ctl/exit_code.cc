#include "exit_code.h"

namespace lastcall {

ExitCode ExitCodeFor(Code code) {
  switch (code) {
    case Code::kOk: return kExitDone;
    case Code::kInvalidArgument: return kExitUsage;
    case Code::kNotFound: return kExitNoSuchName;
    case Code::kFailedPrecondition: return kExitRefused;
    case Code::kUnavailable: return kExitUnreachable;
    case Code::kDeadlineExceeded: return kExitTimedOut;
    case Code::kPermissionDenied: return kExitDenied;
    default: return kExitFailed;
  }
}

}  // namespace lastcall
