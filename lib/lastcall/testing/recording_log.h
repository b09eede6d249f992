// A log that remembers what was said.
#pragma once

#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include <lastcall/base/log.h>

namespace lastcall {

// Threads: any. Must outlive the logs that it gave away.
class RecordingLog {
 public:
  struct Line {
    LogLevel level;
    std::string text;
  };

  Log log() {
    return [this](LogLevel level, std::string_view text) {
      std::lock_guard lock(mutex_);
      lines_.push_back({level, std::string(text)});
    };
  }

  std::vector<Line> lines() const {
    std::lock_guard lock(mutex_);
    return lines_;
  }

  // Whether a line of `level` contains `words`.
  bool Said(LogLevel level, std::string_view words) const {
    std::lock_guard lock(mutex_);
    for (const Line& line : lines_) {
      if (line.level == level && line.text.find(words) != std::string::npos) return true;
    }
    return false;
  }

 private:
  mutable std::mutex mutex_;
  std::vector<Line> lines_;
};

}  // namespace lastcall
