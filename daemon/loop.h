// DaemonLoop: the one loop that the daemon lives in. What is posted runs in order, and what is due runs
// behind it.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include <functional>

#include <lastcall/base/clock.h>
#include <lastcall/base/log.h>
#include <lastcall/event/subscription.h>

namespace lastcall {

// Threads: that of Run, but for Post, executor() and what comes of it.
class DaemonLoop {
 public:
  explicit DaemonLoop(Log log) : log_(std::move(log)) {}

  boost::asio::io_context& context() { return context_; }
  void Post(Callback run);
  Executor executor();

  // Blocks: until End was called. `next` tells after each turn when `due` is to run; kNever: not yet.
  // Fails: an exception ends the turn that it came from, which is said; the rest goes on.
  void Run(const std::function<Instant()>& next, const Callback& due);
  void End() { ended_ = true; }
  // What is there to run now, in the middle of a turn. Fails: as Run.
  void RunReady();

 private:
  void Await(Instant next, const Callback& due);
  // False: an exception has ended it.
  bool Guarded(const Callback& turn);

  const Log log_;
  boost::asio::io_context context_{1};
  boost::asio::steady_timer timer_{context_};
  Instant armed_ = kNever;
  bool ended_ = false;
};

}  // namespace lastcall
