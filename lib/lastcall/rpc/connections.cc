#include "lastcall/rpc/connections.h"

#include <fcntl.h>
#include <sys/socket.h>

#include "lastcall/base/unique_fd.h"

namespace lastcall {
namespace {

uint64_t CookieOf(int fd) {
  uint64_t cookie = 0;
  socklen_t size = sizeof(cookie);
  return getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &size) == 0 ? cookie : 0;
}

}  // namespace

void Connections::Add(int fd) {
  std::lock_guard lock(mutex_);
  cookies_[fd] = CookieOf(fd);
}

// The number may be reused at any moment: what is looked at is a duplicate, whose cookie says
// whether it is still the same socket. It is closed at once, for gRPC closes sockets without telling
// epoll, and a duplicate that outlives that leaves a stale registration behind.
template <class F>
void Connections::ForEachLiving(F action) {
  std::lock_guard lock(mutex_);
  for (auto each = cookies_.begin(); each != cookies_.end();) {
    const UniqueFd copy(fcntl(each->first, F_DUPFD_CLOEXEC, 0));
    if (copy && CookieOf(copy.get()) == each->second) {
      action(copy.get());
      ++each;
    } else {
      each = cookies_.erase(each);
    }
  }
}

size_t Connections::Count() {
  size_t count = 0;
  ForEachLiving([&](int) { ++count; });
  return count;
}

bool Connections::HasRoom(size_t limit) {
  {
    std::lock_guard lock(mutex_);
    if (cookies_.size() < limit) return true;
  }
  return Count() < limit;
}

void Connections::Sever() {
  ForEachLiving([](int fd) { shutdown(fd, SHUT_RDWR); });
}

}  // namespace lastcall
