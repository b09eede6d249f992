// RepeatLimit: one source of lines must not fill the log. What is left out is counted.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include <lastcall/base/clock.h>

namespace lastcall {

class RepeatLimit {
 public:
  struct LeftOut {
    std::string source;
    uint64_t lines;
    Duration within;
  };

  // So many lines of a source in that time.
  RepeatLimit(uint64_t lines, Duration window) : lines_(lines), window_(window) {}

  // Whether a line of the source is to be said.
  bool Admit(const std::string& source, Instant now);
  // What was left out of windows that are over, once; `all`: of those that are not, too. Order:
  // before Admit, which begins new ones.
  std::vector<LeftOut> TakeLeftOut(Instant now, bool all = false);

 private:
  struct Window {
    Instant began;
    uint64_t lines = 0;
  };
  // Sources beyond these count as one.
  static constexpr size_t kMostSources = 1000;

  const uint64_t lines_;
  const Duration window_;
  std::map<std::string, Window> windows_;  // that are not over
};

}  // namespace lastcall
