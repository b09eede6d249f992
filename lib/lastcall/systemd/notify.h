// What systemd is told (sd_notify(3)). Does nothing where it does not listen.
#pragma once

#include <string>
#include <string_view>

#include <lastcall/base/clock.h>

namespace lastcall {

class SystemdNotifier {
 public:
  // Takes NOTIFY_SOCKET out of the environment, so that no child inherits it.
  SystemdNotifier();

  // NOTIFY_SOCKET as it was.
  const std::string& address() const { return socket_; }
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
};

}  // namespace lastcall
