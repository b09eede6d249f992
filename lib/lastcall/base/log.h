// Where the library says what it does. It has no logger of its own: whoever has main passes one.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace lastcall {

enum class LogLevel : int { kTrace, kDebug, kInfo, kWarning, kError };

// "warning".
std::string_view Name(LogLevel level);
// Empty: no such name.
std::optional<LogLevel> LogLevelNamed(std::string_view name);

// Threads: any. Must not block for long, but where it is given to a Host or a Program.
using Log = std::function<void(LogLevel, std::string_view)>;

// A message as a log writes it: whoever made it, no line of it but the first begins like one, and
// nothing in it steers a terminal.
std::string InLog(std::string_view message);

// Warnings and errors to stderr: for whoever was given no log. Threads: any. Blocks: until they are
// written, for 100 ms at most where nothing reads.
void LogToStderr(LogLevel level, std::string_view message);

}  // namespace lastcall
