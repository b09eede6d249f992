#include "daemon/process/lingering_connections.h"

#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <utility>

namespace lastcall {
namespace {

using boost::system::error_code;

// The daemon needs descriptors for other things too.
size_t Room() {
  rlimit limit{};
  return getrlimit(RLIMIT_NOFILE, &limit) == 0 ? limit.rlim_cur / 2 : 0;
}

bool IsConnection(int fd) {
  int type = 0;
  socklen_t size = sizeof(type);
  return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_STREAM;
}

}  // namespace

LingeringConnections::LingeringConnections(boost::asio::io_context& loop)
    : LingeringConnections(loop, Pace{}) {}

LingeringConnections::LingeringConnections(boost::asio::io_context& loop, Pace pace)
    : pace_(pace), room_(Room()), ended_(loop, epoll_create1(EPOLL_CLOEXEC)), next_look_(loop) {
  AwaitEnds();
}

void LingeringConnections::Add(std::vector<UniqueFd> connections) {
  const Instant until = After(std::chrono::steady_clock::now(), pace_.stay);
  for (UniqueFd& each : connections) {
    const int fd = each.get();
    if (connections_.size() >= room_ || !IsConnection(fd)) continue;
    epoll_event event{.events = EPOLLRDHUP, .data = {.fd = fd}};
    if (epoll_ctl(ended_.native_handle(), EPOLL_CTL_ADD, fd, &event) != 0) continue;
    connections_.insert_or_assign(fd, Stay{std::move(each), until});
  }
  if (!connections_.empty() && !looking_) AwaitNextLook();
}

std::vector<int> LingeringConnections::fds() const {
  std::vector<int> fds;
  for (const auto& [fd, stay] : connections_) fds.push_back(fd);
  return fds;
}

// A copy may be open in a child for a moment, so closing alone does not end the registration.
void LingeringConnections::Forget(int fd) {
  epoll_ctl(ended_.native_handle(), EPOLL_CTL_DEL, fd, nullptr);
  // The host, while it had it too, may have asked for a close that blocks.
  const linger none{};
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof(none));
  connections_.erase(fd);
}

void LingeringConnections::AwaitEnds() {
  ended_.async_wait(boost::asio::posix::stream_descriptor::wait_read, [this](error_code error) {
    if (error) return;
    std::array<epoll_event, 64> events;
    size_t count = 0;
    do {
      count = static_cast<size_t>(std::max(0, epoll_wait(ended_.native_handle(), events.data(),
                                                         static_cast<int>(events.size()), 0)));
      for (size_t i = 0; i < count; ++i) Forget(events[i].data.fd);
    } while (count == events.size());
    AwaitEnds();
  });
}

void LingeringConnections::AwaitNextLook() {
  looking_ = true;
  next_look_.expires_after(pace_.look);
  next_look_.async_wait([this](error_code error) {
    if (error) return;
    const Instant now = std::chrono::steady_clock::now();
    std::vector<int> overdue;
    for (const auto& [fd, stay] : connections_) {
      if (stay.until <= now) overdue.push_back(fd);
    }
    for (const int fd : overdue) Forget(fd);
    looking_ = false;
    if (!connections_.empty()) AwaitNextLook();
  });
}

}  // namespace lastcall
