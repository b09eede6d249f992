#include "lastcall/base/exit_status.h"

#include "lastcall/base/signal_name.h"

namespace lastcall {

std::string Describe(const ExitStatus& status) {
  if (!status.misconduct.empty()) return "killed by lastcalld: " + status.misconduct;
  return status.signal != 0 ? "killed by " + SignalName(status.signal)
                            : "exit code " + std::to_string(status.code);
}

}  // namespace lastcall
