// When each call in flight is told to leave: spread over the first half of grace, so that clients do
// not all come back to another server in one moment.
//
// Pure: it is told what time it is and when cancel begins, and says whose turn is when.
#pragma once

#include <cstddef>

#include <lastcall/base/clock.h>

namespace lastcall {

class LeaveSpread {
 public:
  // What a stop gives at the beginning to those that end by themselves.
  static constexpr Duration kPause = std::chrono::seconds(1);

  // Grace begins `now`. What ends by itself in the first tenth of it is not told, nor is anybody in
  // that time; `longest_pause` bounds it.
  LeaveSpread(Instant now, Instant cancel, Duration longest_pause);
  // Between these two, whatever the plan is.
  static LeaveSpread Within(Instant from, Instant by);

  // The plan may have moved. Those who are not told yet have their turns in the first half of what is
  // left now, and none of them later than before.
  void Move(Instant now, Instant cancel);

  // As it was planned last; kNever: it was not.
  Instant cancel() const { return cancel_; }
  // When to look who is there.
  Instant from() const { return from_; }
  // So many were there.
  void Begin(size_t count, Instant now);
  // When the next of them is told; kNever: all have been.
  Instant next() const;
  void Told() { ++told_; }

 private:
  LeaveSpread() = default;

  Instant began_{};
  Duration longest_pause_{};
  Instant cancel_ = kNever;
  Instant from_ = kNever;
  Instant by_ = kNever;
  size_t count_ = 0;
  size_t told_ = 0;
  // The turns from number base_ on are spread from here to by_.
  Instant start_{};
  size_t base_ = 0;
};

}  // namespace lastcall
