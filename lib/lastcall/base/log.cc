#include "lastcall/base/log.h"

#include <string>
#include <system_error>

#include "lastcall/base/log_queue.h"
#include "lastcall/base/safe_text.h"

namespace lastcall {

std::string InLog(std::string_view message) {
  return SafeLines(std::string(message), std::string::npos, "    ");
}

void LogToStderr(LogLevel level, std::string_view message) {
  try {
    const LogQueue queue = LogQueue::Stderr();
    queue(level, message);
    queue.Flush();
  } catch (const std::system_error&) {
    // No thread is left. To write without one could last for ever.
  }
}

}  // namespace lastcall
