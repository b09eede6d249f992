// A clock that moves only when it is told to.
#pragma once

#include <atomic>

#include <lastcall/base/clock.h>

namespace lastcall {

// Threads: any. Both times move together. Its instants lie in the past of the real clock, so that
// code which waits for one of them by mistake does not wait.
class FakeClock final : public Clock {
 public:
  Instant Now() const override { return now_.load(); }
  WallTime Wall() const override { return kStartWall + (Now() - kStart); }

  void Advance(Duration length) { now_.store(After(Now(), length)); }
  // Does nothing when `instant` has passed.
  void AdvanceTo(Instant instant) {
    if (instant > Now()) now_.store(instant);
  }

  static constexpr Instant kStart{std::chrono::seconds(1)};
  // 2026-11-21T02:18:10Z
  static constexpr WallTime kStartWall{std::chrono::seconds(1'795'227'490)};

 private:
  std::atomic<Instant> now_{kStart};
};

}  // namespace lastcall
