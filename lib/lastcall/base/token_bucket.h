// A token bucket: so many at once, and from then on so many a second.
#pragma once

#include <algorithm>
#include <chrono>

#include <lastcall/base/clock.h>

namespace lastcall {

class TokenBucket {
 public:
  struct Rate {
    double burst;
    double per_second;
  };

  // Full.
  explicit TokenBucket(Rate rate) : rate_(rate), tokens_(rate.burst) {}

  // Takes a token, where there is one.
  bool TryTake(Instant now) {
    if (now > filled_at_) {
      const double seconds = std::chrono::duration<double>(now - filled_at_).count();
      tokens_ = std::min(rate_.burst, tokens_ + seconds * rate_.per_second);
      filled_at_ = now;
    }
    if (tokens_ < 1) return false;
    tokens_ -= 1;
    return true;
  }

 private:
  Rate rate_;
  double tokens_;
  Instant filled_at_{};
};

}  // namespace lastcall
