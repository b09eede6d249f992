// What systemd is told (sd_notify(3)). Does nothing where it does not listen.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <lastcall/base/clock.h>

namespace lastcall {

class SystemdNotifier {
 public:
  // Takes NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID out of the environment, so that no child inherits
  // them.
  SystemdNotifier();

  // Those that are meant for this process, as they were: for a program that takes its place.
  std::vector<std::string> Environment() const;
  // How long systemd waits for a Watchdog (sd_watchdog_enabled(3)); zero: it does not.
  Duration patience() const { return socket_.empty() ? Duration::zero() : patience_; }
  void Watchdog() const;
  void Ready(std::string_view status) const;
  // Followed by Ready when it is over.
  void Reloading(std::string_view status) const;
  // The point of no return: systemd starts counting its own stop time-out.
  void Stopping(std::string_view status) const;
  void Status(std::string_view status) const;
  // A promise to be done, or to ask again, within `length` from now.
  void ExtendTimeout(Duration length) const;

 private:
  void Send(const std::string& state) const;
  std::string socket_;
  Duration patience_{};
};

}  // namespace lastcall
