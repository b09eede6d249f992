// Where the library says what it does. It has no logger of its own: whoever has main passes one.
#pragma once

#include <functional>
#include <string_view>

namespace lastcall {

enum class LogLevel : int { kTrace, kDebug, kInfo, kWarning, kError };

// Threads: any. Must not block for long; see LogQueue for one that may.
using Log = std::function<void(LogLevel, std::string_view)>;

// Warnings and errors to stderr: for whoever was given no log. Threads: any. Blocks: until they are
// written, for LogQueue::kPatience at most where nothing reads.
void LogToStderr(LogLevel level, std::string_view message);

}  // namespace lastcall
