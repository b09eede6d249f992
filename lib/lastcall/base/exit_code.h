// Every exit code there is; scripts rely on them. 64 and above are those of sysexits(3).
#pragma once

namespace lastcall {

// Of lastcalld, lastcall-host, and programs on Host and Program.
inline constexpr int kExitAllFinished = 0;  // every call
inline constexpr int kExitCallsCancelled = 3;
inline constexpr int kExitForced = 4;  // something had not returned at the last instant
inline constexpr int kExitBadCommandLine = 64;
inline constexpr int kExitCannotBind = 69;
inline constexpr int kExitInternal = 70;
inline constexpr int kExitBadConfiguration = 78;

// Of lastcallctl.
enum ExitCode : int {
  kExitDone = 0,
  kExitFailed = 1,  // also: calls were cancelled
  kExitUsage = 2,
  kExitNotServing = 3,
  kExitNoSuchName = 4,
  kExitRefused = 5,
  kExitUnreachable = 69,
  kExitTimedOut = 75,
  kExitDenied = 77,
};

}  // namespace lastcall
