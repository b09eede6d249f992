// What the daemon says when the wall clock jumps.
#include <fcntl.h>

#include "daemon/daemon.h"

namespace lastcall {

void Daemon::WatchClock() {
  // A copy: Asio closes what it is given.
  const int copy = fcntl(clock_watch_.fd(), F_DUPFD_CLOEXEC, 0);
  if (copy >= 0) clock_changes_.assign(copy);
  AwaitClock();
}

void Daemon::AwaitClock() {
  if (!clock_changes_.is_open()) return;
  clock_changes_.async_wait(boost::asio::posix::stream_descriptor::wait_read,
                            [this](const boost::system::error_code& error) {
                              if (error) return;
                              const Duration jump = clock_watch_.Take();
                              if (jump != Duration::zero()) {
                                Say(LogLevel::kWarning, DescribeJump(jump));
                              }
                              AwaitClock();
                            });
}

}  // namespace lastcall
