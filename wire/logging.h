// The log of our own programs: stderr, in the journal's form when stderr is the journal.
#pragma once

#include <string>

#include <lastcall/base/log_queue.h>

namespace lastcall {

// "2026-11-21 02:18:10.123 warning lastcalld: …" a line. Nobody waits for whoever reads it: see
// LogQueue. Threads: any.
class Logger {
 public:
  // `name` stands before every message.
  Logger(const std::string& name, LogLevel level);

  void SetLevel(LogLevel level) { queue_.SetLevel(level); }
  LogLevel level() const { return queue_.level(); }
  Log log() const { return queue_; }
  const LogQueue& queue() const { return queue_; }

 private:
  LogQueue queue_;
};

}  // namespace lastcall
