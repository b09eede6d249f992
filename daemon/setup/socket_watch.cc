#include "daemon/setup/socket_watch.h"

#include <sys/epoll.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <string>
#include <utility>

namespace lastcall {
namespace {

// By edge: a socket that was shut down stays so, and would be told of forever.
void Add(int epoll, int fd, uint32_t events) {
  epoll_event event{.events = events | EPOLLET, .data = {.fd = fd}};
  epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
}

}  // namespace

SocketWatch::SocketWatch(boost::asio::io_context& loop, std::function<void()> changed)
    : loop_(loop), changed_(std::move(changed)), events_(loop_) {}

// Without epoll or inotify nothing is noticed, and nothing else is lost.
void SocketWatch::Begin(const Sockets& sockets) {
  End();
  const int epoll = epoll_create1(EPOLL_CLOEXEC);
  if (epoll < 0) return;
  events_.assign(epoll);
  for (const auto& [server, all] : sockets) {
    for (const Bound& bound : all) {
      Add(epoll, bound.listener->fd(), EPOLLRDHUP);
      const std::string& path = bound.listener->path().name;
      if (!path.empty()) Watch(path.substr(0, std::max<size_t>(path.rfind('/'), 1)));
    }
  }
  if (directories_) Add(epoll, directories_.get(), EPOLLIN);
  Await();
}

void SocketWatch::Watch(const std::string& directory) {
  if (!directories_) directories_.Reset(inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
  if (!directories_) return;
  const int watch = inotify_add_watch(directories_.get(), directory.c_str(),
                                      IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_CREATE |
                                          IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR);
  if (watch >= 0) watches_.insert(watch);
}

void SocketWatch::End() {
  boost::system::error_code ignored;
  events_.close(ignored);
  for (const int watch : std::exchange(watches_, {})) inotify_rm_watch(directories_.get(), watch);
  Discard();
}

// The end of a watch is told too, and would be taken for a change. No more than a full queue holds:
// where others may write into a directory, it may never be empty.
void SocketWatch::Discard() {
  std::array<char, 1 << 16> changes;
  for (int i = 0; directories_ && i < 128; ++i) {
    if (read(directories_.get(), changes.data(), changes.size()) <= 0) return;
  }
}

void SocketWatch::Await() {
  events_.async_wait(boost::asio::posix::stream_descriptor::wait_read,
                     [this](const boost::system::error_code& error) {
                       if (error) return;
                       std::array<epoll_event, 64> events;
                       while (epoll_wait(events_.native_handle(), events.data(),
                                         static_cast<int>(events.size()), 0) > 0) {
                       }
                       Discard();
                       Await();
                       changed_();
                     });
}

}  // namespace lastcall
