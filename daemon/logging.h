// The log of our own programs: stderr, in the journal's form when stderr is the journal.
#pragma once

#include <memory>
#include <string>

#include <lastcall/base/log.h>

namespace spdlog {
class logger;
}

namespace lastcall {

// "2026-11-21 02:18:10.123 warning lastcalld: …" a line. Threads: any.
class Logger {
 public:
  // `name` stands before every message.
  Logger(const std::string& name, LogLevel level);

  void SetLevel(LogLevel level);
  LogLevel level() const;
  Log log() const;

 private:
  std::shared_ptr<spdlog::logger> logger_;
};

}  // namespace lastcall
