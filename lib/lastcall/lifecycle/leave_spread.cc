#include "lastcall/lifecycle/leave_spread.h"

#include <algorithm>

namespace lastcall {
namespace {

// What is taken for grace where it has no end.
constexpr Duration kLongest = std::chrono::minutes(1);

Duration Left(Instant from, Instant cancel) {
  return cancel == kNever ? kLongest : std::max(Duration::zero(), Duration(cancel - from));
}

}  // namespace

LeaveSpread::LeaveSpread(Instant now, Instant cancel, Duration longest_pause)
    : began_(now), longest_pause_(longest_pause), cancel_(cancel) {
  from_ = After(now, std::min(Left(now, cancel) / 10, longest_pause));
  by_ = After(now, Left(now, cancel) / 2);
}

LeaveSpread LeaveSpread::Within(Instant from, Instant by) {
  LeaveSpread spread;
  spread.from_ = from;
  spread.by_ = by;
  return spread;
}

void LeaveSpread::Move(Instant now, Instant cancel) {
  if (cancel >= cancel_) return;
  cancel_ = cancel;
  const Duration pause = std::min(Left(began_, cancel) / 10, longest_pause_);
  from_ = std::min(from_, std::max(now, After(began_, pause)));
  by_ = std::min(by_, After(now, Left(now, cancel) / 2));
  start_ = now;
  base_ = told_;
}

void LeaveSpread::Begin(size_t count, Instant now) {
  count_ = count;
  start_ = now;
}

Instant LeaveSpread::next() const {
  if (told_ >= count_) return kNever;
  const Duration span = std::max(Duration::zero(), Duration(by_ - start_));
  const double part = static_cast<double>(told_ - base_) / static_cast<double>(count_ - base_);
  return After(start_, Duration(static_cast<int64_t>(static_cast<double>(span.count()) * part)));
}

}  // namespace lastcall
