// Notices when the wall clock jumps. Nothing is planned by it, but log and receipt are dated by it.
#pragma once

#include <string>

#include <lastcall/base/clock.h>
#include <lastcall/base/unique_fd.h>

namespace lastcall {

class WallClockWatch {
 public:
  explicit WallClockWatch(const Clock& clock);

  // Readable when the clock was set: timerfd_create(2), TFD_TIMER_CANCEL_ON_SET. -1 where there is
  // no such timer.
  int fd() const { return timer_.get(); }
  // Takes what is to be read. How far the clock jumped since the last time, forward or back; zero
  // when it was less than a second, which is what keeping time looks like.
  Duration Take();

 private:
  Duration Offset() const;
  void Arm();

  const Clock& clock_;
  Duration offset_;  // of the wall clock from the monotonic one
  UniqueFd timer_;
};

// For the log.
std::string DescribeJump(Duration jump);

}  // namespace lastcall
