// Time. Instants are on the monotonic clock, which all processes of a machine share; wall-clock
// time appears in reports only. Clocks are passed; only main makes a real one.
#pragma once

#include <algorithm>
#include <chrono>
#include <string>

#include <lastcall/base/result.h>

namespace lastcall {

using Duration = std::chrono::nanoseconds;
using Instant = std::chrono::time_point<std::chrono::steady_clock, Duration>;
using WallTime = std::chrono::time_point<std::chrono::system_clock, Duration>;

inline constexpr Instant kNever = Instant::max();
inline constexpr Duration kForever = Duration::max();

// `instant + length`, where kNever and kForever stay what they are. Total: a length below zero is
// none.
constexpr Instant After(Instant instant, Duration length) {
  if (length <= Duration::zero()) return instant;
  return instant >= kNever - length ? kNever : instant + length;
}

// Threads: any.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual Instant Now() const = 0;
  virtual WallTime Wall() const = 0;
};

class SteadyClock final : public Clock {
 public:
  Instant Now() const override { return std::chrono::steady_clock::now(); }
  WallTime Wall() const override { return std::chrono::system_clock::now(); }
};

// The instant by which something must be done; passed down instead of a time-out.
class Deadline {
 public:
  Deadline() = default;  // never
  explicit Deadline(Instant at) : at_(at) {}

  Instant at() const { return at_; }
  bool Passed(Instant now) const { return now >= at_; }
  // Never negative; kForever when there is no deadline.
  Duration Remaining(Instant now) const {
    return at_ == kNever ? kForever : now >= at_ ? Duration::zero() : at_ - now;
  }
  // The same for poll(2): rounded up, and a day at most.
  int PollTimeout(Instant now) const {
    const Duration left = std::min<Duration>(Remaining(now), std::chrono::hours(24));
    return static_cast<int>(std::chrono::ceil<std::chrono::milliseconds>(left).count());
  }

 private:
  Instant at_ = kNever;
};

// "250ms", "1.5s", "1m30s", "2h": one or more numbers, each with a unit of ns us ms s m h d.
// "infinity" is kForever. Fails: kInvalidArgument, with what is wrong and an example.
Result<Duration> ParseDuration(std::string_view text);

// The shortest form that a person reads easily, to three digits: "250ms", "1.5s", "1m30s".
std::string FormatDuration(Duration length);

// RFC 3339 in UTC with milliseconds: "2026-11-21T02:18:10.123Z".
std::string FormatWallTime(WallTime time);

double ToSeconds(Duration length);
// Whether a number of seconds from outside is a length at all: neither negative nor NaN. To be
// asked where it comes in; infinity is kForever.
bool IsLength(double seconds);
// Total, for what was not asked about: huge values are kForever, what is no length is zero.
Duration FromSeconds(double seconds);

}  // namespace lastcall
