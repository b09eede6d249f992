// How long to wait before a failed process is started again.
#pragma once

#include <algorithm>

#include <lastcall/base/clock.h>

namespace lastcall {

// 100 ms after the first failure, twice as long after each further one, 10 s at most; from the
// beginning again after an incarnation that lived for half a minute.
class BackOff {
 public:
  static constexpr Duration kFirst = std::chrono::milliseconds(100);
  static constexpr Duration kLongest = std::chrono::seconds(10);
  static constexpr Duration kHealthy = std::chrono::seconds(30);

  BackOff() = default;
  explicit BackOff(Duration next) : next_(std::clamp(next, kFirst, kLongest)) {}

  // The next wait, unless it lived that long.
  Duration next() const { return next_; }

  // `lived`: how long the incarnation that failed was ready.
  Duration Next(Duration lived) {
    if (lived >= kHealthy) next_ = kFirst;
    const Duration wait = next_;
    next_ = std::min(2 * next_, kLongest);
    return wait;
  }

 private:
  Duration next_ = kFirst;
};

}  // namespace lastcall
