#include "lastcall/supervisor/incarnation.h"

#include <csignal>

namespace lastcall {

std::string_view Name(Phase phase) {
  switch (phase) {
    case Phase::kStarting: return "starting";
    case Phase::kRunning: return "running";
    case Phase::kStopping: return "stopping";
    case Phase::kWaiting: return "waiting";
    case Phase::kDown: return "down";
  }
  return "down";
}

std::string FailureOf(const Incarnation& incarnation, const ExitStatus& status, Duration ready) {
  if (!incarnation.start_error.empty()) return incarnation.start_error;
  if (incarnation.killed) return "not ready within " + FormatDuration(ready);
  return Describe(status);
}

void Complete(Incarnation& incarnation, const std::string& process, const ExitStatus& status) {
  const bool silent = !incarnation.receipt;
  if (silent) incarnation.receipt = Receipt{.subject = process, .incarnation = incarnation.number};
  Receipt& receipt = *incarnation.receipt;
  // One that had ended already was not killed, though it was tried: this process may have been stopped
  // for a while, and hear of the end late.
  if (incarnation.killed && status.signal == SIGKILL) {
    receipt.exit_code = kExitForced;
    receipt.failure = "did not end in time and was killed";
  } else if (status.signal != 0 || (silent && status.code != 0)) {
    receipt.failure = incarnation.start_error.empty()
                          ? Describe(status)
                          : "could not start: " + incarnation.start_error;
    // Its calls died with it, if it ever took any.
    const bool had_calls = silent && incarnation.accepting_since != kNever;
    if (had_calls) receipt.exit_code = kExitCallsCancelled;
  }
}

}  // namespace lastcall
