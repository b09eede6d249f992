// FrozenLimit: how often a process that freezes again and again is replaced for it.
#pragma once

#include <algorithm>
#include <cstddef>
#include <deque>
#include <utility>

#include <lastcall/base/clock.h>

namespace lastcall {

class FrozenLimit {
 public:
  // So many replacements within so long; what freezes beyond that is reported, and waits.
  static constexpr size_t kMost = 3;
  static constexpr Duration kWithin = std::chrono::minutes(10);
  // What the calls of a frozen incarnation have left once its successor has settled: it may never drain.
  static constexpr Duration kGrace = std::chrono::seconds(5);

  FrozenLimit() = default;
  // `replaced`: when it was, oldest first.
  explicit FrozenLimit(std::deque<Instant> replaced) : replaced_(std::move(replaced)) {}

  // When there may be another: `now`, or later.
  Instant Next(Instant now) const {
    if (replaced_.size() < kMost) return now;
    return std::max(now, replaced_[replaced_.size() - kMost] + kWithin);
  }
  void Add(Instant now) {
    replaced_.push_back(now);
    if (replaced_.size() > kMost) replaced_.pop_front();
  }
  const std::deque<Instant>& replaced() const { return replaced_; }

 private:
  std::deque<Instant> replaced_;  // the last ones
};

}  // namespace lastcall
