#include "lastcall/base/log.h"

#include <cstdio>

namespace lastcall {

void LogToStderr(LogLevel level, std::string_view message) {
  if (level < LogLevel::kWarning) return;
  std::fprintf(stderr, "%.*s\n", static_cast<int>(message.size()), message.data());
}

}  // namespace lastcall
