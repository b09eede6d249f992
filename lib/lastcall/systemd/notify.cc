#include "lastcall/systemd/notify.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdlib>
#include <cstring>

#include "lastcall/base/safe_text.h"
#include "lastcall/base/unique_fd.h"

namespace lastcall {
namespace {

constexpr char kVariable[] = "NOTIFY_SOCKET";
constexpr char kPatience[] = "WATCHDOG_USEC";
constexpr char kWatched[] = "WATCHDOG_PID";

// Empty: it is not set.
std::string Take(const char* variable) {
  const char* const value = std::getenv(variable);
  std::string taken = value == nullptr ? "" : value;
  unsetenv(variable);
  return taken;
}

// 0: it is no number.
int64_t NumberIn(const std::string& text) {
  int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size() ? number : 0;
}

// Zero: none, or another process's.
Duration PatienceIn(const std::string& microseconds, const std::string& pid) {
  // More would not be a Duration; nobody waits for years.
  constexpr int64_t kMost = std::chrono::microseconds(std::chrono::hours(24 * 365)).count();
  const int64_t length = NumberIn(microseconds);
  if (length <= 0 || (!pid.empty() && NumberIn(pid) != getpid())) return Duration::zero();
  return std::chrono::microseconds(std::min(length, kMost));
}

// A line break would begin another assignment, and systemd drops what is not UTF-8.
std::string OneLine(std::string_view text) { return SafeText(std::string(text)); }

}  // namespace

SystemdNotifier::SystemdNotifier() {
  socket_ = Take(kVariable);
  const std::string microseconds = Take(kPatience);
  patience_ = PatienceIn(microseconds, Take(kWatched));
}

std::vector<std::string> SystemdNotifier::Environment() const {
  std::vector<std::string> entries;
  if (!socket_.empty()) entries.push_back(std::string(kVariable) + "=" + socket_);
  if (patience_ > Duration::zero()) {
    const auto us = std::chrono::duration_cast<std::chrono::microseconds>(patience_).count();
    entries.push_back(std::string(kPatience) + "=" + std::to_string(us));
    entries.push_back(std::string(kWatched) + "=" + std::to_string(getpid()));
  }
  return entries;
}

void SystemdNotifier::Watchdog() const { Send("WATCHDOG=1"); }

// Not sd_notify(3): that one reads the environment, which other threads may be reading too, and which
// must not be handed to children.
void SystemdNotifier::Send(const std::string& state) const {
  sockaddr_un address{};
  if (socket_.empty() || socket_.size() >= sizeof(address.sun_path)) return;
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, socket_.data(), socket_.size());
  if (socket_.front() == '@') address.sun_path[0] = '\0';  // an abstract name
  const UniqueFd fd(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  sendto(fd.get(), state.data(), state.size(), MSG_NOSIGNAL,
         reinterpret_cast<const sockaddr*>(&address),
         static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + socket_.size()));
}

void SystemdNotifier::Ready(std::string_view status) const {
  Send("READY=1\nSTATUS=" + OneLine(status));
}

void SystemdNotifier::Reloading(std::string_view status) const {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  const auto us = std::chrono::duration_cast<std::chrono::microseconds>(now).count();
  Send("RELOADING=1\nMONOTONIC_USEC=" + std::to_string(us) + "\nSTATUS=" + OneLine(status));
}

void SystemdNotifier::Stopping(std::string_view status) const {
  Send("STOPPING=1\nSTATUS=" + OneLine(status));
}

void SystemdNotifier::Status(std::string_view status) const { Send("STATUS=" + OneLine(status)); }

void SystemdNotifier::ExtendTimeout(Duration length) const {
  const auto us = std::chrono::duration_cast<std::chrono::microseconds>(length).count();
  Send("EXTEND_TIMEOUT_USEC=" + std::to_string(us));
}

}  // namespace lastcall
