#include "daemon/wall_clock_watch.h"

#include <sys/timerfd.h>
#include <unistd.h>

#include <cstdint>
#include <utility>

namespace lastcall {

WallClockWatch::WallClockWatch(boost::asio::io_context& loop, const Clock& clock,
                               std::function<void(Duration)> on_jump)
    : clock_(clock), on_jump_(std::move(on_jump)), timer_(loop) {}

void WallClockWatch::Begin() {
  const int timer = timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK | TFD_CLOEXEC);
  if (timer < 0) return;
  timer_.assign(timer);
  Arm();
  offset_ = Offset();
  Await();
}

Duration WallClockWatch::Offset() const {
  return clock_.Wall().time_since_epoch() - clock_.Now().time_since_epoch();
}

// For an instant that does not come; only being cancelled matters.
void WallClockWatch::Arm() {
  constexpr time_t kNotInOurTime = 10'000'000'000;
  const itimerspec when{.it_interval = {}, .it_value = {.tv_sec = kNotInOurTime, .tv_nsec = 0}};
  timerfd_settime(fd(), TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &when, nullptr);
}

void WallClockWatch::Await() {
  timer_.async_wait(boost::asio::posix::stream_descriptor::wait_read,
                    [this](const boost::system::error_code& error) {
                      if (error) return;
                      Look();
                      Await();
                    });
}

void WallClockWatch::Look() {
  uint64_t ignored = 0;
  while (read(fd(), &ignored, sizeof(ignored)) >= 0) continue;
  Arm();
  const Duration jump = Offset() - std::exchange(offset_, Offset());
  if (jump < std::chrono::seconds(1) && jump > -std::chrono::seconds(1)) return;
  on_jump_(jump);
}

std::string DescribeJump(Duration jump) {
  const bool forward = jump > Duration::zero();
  return "the wall clock jumped " + FormatDuration(forward ? jump : -jump) +
         (forward ? " forward" : " back") +
         " (it was set, or the machine slept); dates in log and receipt jump with it, stages do "
         "not";
}

}  // namespace lastcall
