#include "lastcall/net/connections.h"

#include <fcntl.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <utility>
#include <vector>

namespace lastcall {
namespace {

uint64_t CookieOf(int fd) {
  uint64_t cookie = 0;
  socklen_t size = sizeof(cookie);
  return getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &size) == 0 ? cookie : 0;
}

uint64_t BytesOf(int fd, unsigned long which) {
  int bytes = 0;
  return ioctl(fd, which, &bytes) == 0 && bytes > 0 ? static_cast<uint64_t>(bytes) : 0;
}

}  // namespace

Connections::Connections()
    : nothing_(eventfd(0, EFD_CLOEXEC)), scratch_(fcntl(nothing_.get(), F_DUPFD_CLOEXEC, 0)) {}

void Connections::Add(int fd) {
  std::lock_guard lock(mutex_);
  cookies_[fd] = CookieOf(fd);
  last_added_ = std::chrono::steady_clock::now();
}

bool Connections::Has(int fd) const {
  std::lock_guard lock(mutex_);
  const auto found = cookies_.find(fd);
  return found != cookies_.end() && found->second == CookieOf(fd);
}

bool Connections::Forget(int fd) {
  std::lock_guard lock(mutex_);
  const auto found = cookies_.find(fd);
  if (found == cookies_.end() || found->second != CookieOf(fd)) return false;
  cookies_.erase(found);
  return true;
}

// The number may be reused at any moment: what is looked at is a duplicate, whose cookie says
// whether it is still the same socket. It is closed at once, for gRPC closes sockets without telling
// epoll, and a duplicate that outlives that leaves a stale registration behind. Not under the lock:
// close(2) comes by here (lingering.h).
template <class F>
void Connections::ForEachLiving(F action) {
  std::vector<std::pair<int, uint64_t>> known;
  {
    std::lock_guard lock(mutex_);
    known.assign(cookies_.begin(), cookies_.end());
  }
  std::lock_guard one_at_a_time(scratch_mutex_);
  for (const auto& [fd, cookie] : known) {
    const bool living =
        dup3(fd, scratch_.get(), O_CLOEXEC) >= 0 && CookieOf(scratch_.get()) == cookie;
    if (living) action(scratch_.get());
    dup3(nothing_.get(), scratch_.get(), O_CLOEXEC);
    if (living) continue;
    std::lock_guard lock(mutex_);
    const auto found = cookies_.find(fd);
    if (found != cookies_.end() && found->second == cookie) cookies_.erase(found);
  }
}

size_t Connections::known() const {
  std::lock_guard lock(mutex_);
  return cookies_.size();
}

Instant Connections::last_added() const {
  std::lock_guard lock(mutex_);
  return last_added_;
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

Duration Connections::LongestRoundTrip() {
  Duration longest = Duration::zero();
  ForEachLiving([&](int fd) {
    tcp_info info{};
    socklen_t size = sizeof(info);
    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) != 0) return;
    longest = std::max(longest, Duration(std::chrono::microseconds(info.tcpi_rtt)));
  });
  return longest;
}

uint64_t Connections::Unread(int fd) { return BytesOf(fd, SIOCINQ); }

uint64_t Connections::Unread() {
  uint64_t bytes = 0;
  ForEachLiving([&](int fd) { bytes += Unread(fd); });
  return bytes;
}

uint64_t Connections::Untaken() {
  uint64_t bytes = 0;
  ForEachLiving([&](int fd) { bytes += BytesOf(fd, SIOCOUTQ); });
  return bytes;
}

void Connections::Sever() {
  ForEachLiving([](int fd) { shutdown(fd, SHUT_RDWR); });
}

}  // namespace lastcall
