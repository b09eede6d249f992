// Children that have no owner in this process: whose own parent has gone, where this is PID 1 or a
// child subreaper (prctl(2)), or that were there before it was executed, as jobs of a shell.
// Without a wait they would stay zombies for as long as it runs.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>

#include <lastcall/base/log.h>

namespace lastcall {

class OrphanReaper {
 public:
  // Has SIGCHLD wait until it is read, for all threads made from here on; and sees to it that the
  // kernel tells how children end, which it does not where the parent had the signal ignored.
  static void PrepareSignal();

  // Waits for what has ended and will, in the loop's thread. Order: after PrepareSignal, and once
  // every child that a build before this one had is adopted (see spawn.h).
  OrphanReaper(boost::asio::io_context& loop, Log log);

 private:
  void Await();
  void Reap();

  boost::asio::posix::stream_descriptor signals_;
  const Log log_;
};

}  // namespace lastcall
