#include "lastcall/base/log.h"

#include <algorithm>
#include <array>
#include <string>
#include <system_error>

#include "lastcall/base/log_queue.h"
#include "lastcall/base/safe_text.h"

namespace lastcall {
namespace {

constexpr std::array<std::string_view, 5> kLevelNames{"trace", "debug", "info", "warning", "error"};

}  // namespace

std::string_view Name(LogLevel level) { return kLevelNames[static_cast<size_t>(level)]; }

std::optional<LogLevel> LogLevelNamed(std::string_view name) {
  const auto found = std::find(kLevelNames.begin(), kLevelNames.end(), name);
  if (found == kLevelNames.end()) return std::nullopt;
  return static_cast<LogLevel>(found - kLevelNames.begin());
}

std::string InLog(std::string_view message) {
  return SafeLines(std::string(message), std::string::npos, "    ");
}

void LogToStderr(LogLevel level, std::string_view message) {
  try {
    const LogQueue queue = LogQueue::Stderr();
    queue(level, message);
    queue.Flush();
  } catch (const std::system_error&) {
    // No thread is left. To write without one could last forever.
  }
}

}  // namespace lastcall
