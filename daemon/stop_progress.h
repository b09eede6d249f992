// StopProgress: what the world is told while a stop goes on. systemd is promised its end, and who
// watches sees the calls in flight go down.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include <functional>

#include "daemon/conclusion.h"

#include <lastcall/base/clock.h>
#include <lastcall/supervisor/supervisor.h>

namespace lastcall {

// systemd kills what is not over when it was promised. A stop without end is promised bit by bit: as
// long as the loop runs, it does not hang.
//
// Threads: the loop's.
class StopProgress {
 public:
  // How far a stop without end is promised at a time.
  static constexpr std::chrono::seconds kPromise{30};
  // What may come after the last instant, where everything takes its longest: the daemon ends itself
  // before systemd does it.
  static constexpr Duration kAfterwards =
      Supervisor::kPatience + Conclusion::kLongest + std::chrono::milliseconds(500);
  // How often it looks whether there is anything new to say.
  static constexpr std::chrono::milliseconds kRefresh{200};

  struct Effects {
    std::function<Instant()> end;           // of the stop, as planned now; kNever: it has none
    std::function<void(Duration)> promise;  // that it is over by then, or that there is more to say
    std::function<void()> refresh;          // what the watchers see
  };

  StopProgress(boost::asio::io_context& loop, const Clock& clock, Effects effects,
               Duration refresh = kRefresh);

  // Promises, and goes on with both until End. Again at each stage, for the plan may have moved.
  void Begin();
  // Nothing is promised or refreshed any more.
  void End();

 private:
  void Promise();
  void Await();

  const Clock& clock_;
  const Effects effects_;
  const Duration every_;
  boost::asio::steady_timer timer_;
  Instant promised_{};  // when the stop is over
  bool ended_ = false;
};

}  // namespace lastcall
