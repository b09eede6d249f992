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

  // Takes a token, or as many as something costs, where they are there.
  bool TryTake(Instant now, double cost = 1) {
    if (now > filled_at_) {
      const double seconds = std::chrono::duration<double>(now - filled_at_).count();
      tokens_ = std::min(rate_.burst, tokens_ + seconds * rate_.per_second);
      filled_at_ = now;
    }
    if (tokens_ < cost) return false;
    tokens_ -= cost;
    return true;
  }
  // Those that come otherwise than by time; it is never fuller than full.
  void Add(double tokens) { tokens_ = std::min(rate_.burst, tokens_ + tokens); }

 private:
  Rate rate_;
  double tokens_;
  Instant filled_at_{};
};

}  // namespace lastcall
