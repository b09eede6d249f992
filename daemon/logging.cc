#include "daemon/logging.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/sinks/systemd_sink.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <memory>

namespace lastcall {
namespace {

spdlog::level::level_enum ToSpdlog(LogLevel level) {
  switch (level) {
    case LogLevel::kTrace: return spdlog::level::trace;
    case LogLevel::kDebug: return spdlog::level::debug;
    case LogLevel::kInfo: return spdlog::level::info;
    case LogLevel::kWarning: return spdlog::level::warn;
    case LogLevel::kError: return spdlog::level::err;
  }
  return spdlog::level::info;
}

// systemd.exec(5): JOURNAL_STREAM is the device and inode of the journal's socket.
bool StderrIsJournal() {
  const char* stream = std::getenv("JOURNAL_STREAM");
  struct stat status {};
  if (stream == nullptr || fstat(STDERR_FILENO, &status) != 0) return false;
  return std::string(stream) ==
         std::to_string(status.st_dev) + ":" + std::to_string(status.st_ino);
}

}  // namespace

Logger::Logger(const std::string& name, LogLevel level) {
  if (StderrIsJournal()) {
    logger_ = std::make_shared<spdlog::logger>(
        name, std::make_shared<spdlog::sinks::systemd_sink_mt>(name, true));
    logger_->set_pattern("%n: %v");
  } else {
    logger_ = std::make_shared<spdlog::logger>(
        name, std::make_shared<spdlog::sinks::stderr_sink_mt>());
    logger_->set_pattern("%Y-%m-%d %H:%M:%S.%e %-7l %n: %v");
  }
  SetLevel(level);
}

void Logger::SetLevel(LogLevel level) { logger_->set_level(ToSpdlog(level)); }

LogLevel Logger::level() const {
  const auto now = logger_->level();
  for (const LogLevel level :
       {LogLevel::kTrace, LogLevel::kDebug, LogLevel::kInfo, LogLevel::kWarning}) {
    if (ToSpdlog(level) == now) return level;
  }
  return LogLevel::kError;
}

Log Logger::log() const {
  return [logger = logger_](LogLevel level, std::string_view message) {
    logger->log(ToSpdlog(level), message);
  };
}

}  // namespace lastcall
