// Watchdog: tells systemd that the daemon is alive (WatchdogSec= of its unit). A beat is sent by the loop, after
// it has had a turn to ask and the admin's own server has answered; neither alone will do. What the
// processes of the daemon are at is no part of it.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include <functional>
#include <memory>

#include <lastcall/base/clock.h>

namespace lastcall {

// Threads: the loop's.
class Watchdog {
 public:
  // Asks the admin's server: `answered` comes in any thread, or never. False: it takes no callers now, for
  // it is being handed over or is at its end; then the loop alone counts.
  using Ask = std::function<bool(std::function<void()> answered)>;
  struct Parts {
    boost::asio::io_context& loop;
    Duration patience{};  // systemd's: how long it waits for a beat; zero: it does not
    Ask ask;
    std::function<void()> beat;
  };
  explicit Watchdog(Parts parts);

  // From now on.
  void Begin();

  // So often in systemd's patience, so that one that is late is no reason yet.
  static constexpr int kBeats = 4;

 private:
  void Turn();
  void Await();

  const Parts parts_;
  boost::asio::steady_timer timer_;
  // What comes from other threads asks whether there is still somebody to come to.
  const std::shared_ptr<const char> here_ = std::make_shared<const char>();
};

}  // namespace lastcall
