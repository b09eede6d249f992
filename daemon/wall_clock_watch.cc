#include "daemon/wall_clock_watch.h"

#include <sys/timerfd.h>
#include <unistd.h>

#include <cstdint>
#include <utility>

namespace lastcall {

WallClockWatch::WallClockWatch(const Clock& clock)
    : clock_(clock),
      offset_(Offset()),
      timer_(timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK | TFD_CLOEXEC)) {
  Arm();
}

Duration WallClockWatch::Offset() const {
  return clock_.Wall().time_since_epoch() - clock_.Now().time_since_epoch();
}

// For an instant that does not come; only being cancelled matters.
void WallClockWatch::Arm() {
  constexpr time_t kNotInOurTime = 10'000'000'000;
  const itimerspec when{.it_interval = {}, .it_value = {.tv_sec = kNotInOurTime, .tv_nsec = 0}};
  timerfd_settime(timer_.get(), TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &when, nullptr);
}

Duration WallClockWatch::Take() {
  uint64_t ignored = 0;
  while (read(timer_.get(), &ignored, sizeof(ignored)) >= 0) continue;
  Arm();
  const Duration jump = Offset() - std::exchange(offset_, Offset());
  const bool small = jump < std::chrono::seconds(1) && jump > -std::chrono::seconds(1);
  return small ? Duration::zero() : jump;
}

std::string DescribeJump(Duration jump) {
  const bool forward = jump > Duration::zero();
  return "the wall clock jumped " + FormatDuration(forward ? jump : -jump) +
         (forward ? " forward" : " back") +
         " (it was set, or the machine slept); dates in log and receipt jump with it, stages do "
         "not";
}

}  // namespace lastcall
