// Notices when the wall clock jumps. Nothing is planned by it, but log and receipt are dated by it.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>

#include <functional>
#include <string>

#include <lastcall/base/clock.h>

namespace lastcall {

// Threads: the loop's.
class WallClockWatch {
 public:
  // `on_jump`: how far it jumped, forward or back. Less than a second is not told: that is what
  // keeping time looks like.
  WallClockWatch(boost::asio::io_context& loop, const Clock& clock,
                 std::function<void(Duration)> on_jump);

  // Tells of what happens from now on. Without such a timer nothing is noticed, and nothing else is
  // lost.
  void Begin();

  // Readable when the clock was set: timerfd_create(2), TFD_TIMER_CANCEL_ON_SET. -1: it has not
  // begun. For tests, which cannot set it.
  int fd() { return timer_.is_open() ? timer_.native_handle() : -1; }

 private:
  Duration Offset() const;
  void Arm();
  void Await();
  void Look();

  const Clock& clock_;
  const std::function<void(Duration)> on_jump_;
  Duration offset_{};  // of the wall clock from the monotonic one
  boost::asio::posix::stream_descriptor timer_;
};

// For the log.
std::string DescribeJump(Duration jump);

}  // namespace lastcall
