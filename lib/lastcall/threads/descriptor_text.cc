#include "lastcall/threads/descriptor_text.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <string_view>

#include "lastcall/base/safe_text.h"
#include "lastcall/base/unique_fd.h"
#include "lastcall/threads/own_memory.h"
#include "lastcall/threads/system_calls.h"
#include "lastcall/threads/thread_sample.h"

namespace lastcall {
namespace {

struct SocketName {
  sockaddr_storage address{};
  socklen_t size = sizeof(address);
};

std::string IpText(const SocketName& name) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (name.address.ss_family == AF_INET) {
    const auto& four = reinterpret_cast<const sockaddr_in&>(name.address);
    inet_ntop(AF_INET, &four.sin_addr, text.data(), text.size());
    return std::string(text.data()) + ":" + std::to_string(ntohs(four.sin_port));
  }
  const auto& six = reinterpret_cast<const sockaddr_in6&>(name.address);
  const std::string port = ":" + std::to_string(ntohs(six.sin6_port));
  if (IN6_IS_ADDR_V4MAPPED(&six.sin6_addr)) {
    inet_ntop(AF_INET, &six.sin6_addr.s6_addr[12], text.data(), text.size());
    return text.data() + port;
  }
  inet_ntop(AF_INET6, &six.sin6_addr, text.data(), text.size());
  return "[" + std::string(text.data()) + "]" + port;
}

// Empty: it has no name. Abstract ones are written with an @, as tools do.
std::string UnixText(const SocketName& name) {
  const auto& address = reinterpret_cast<const sockaddr_un&>(name.address);
  const size_t begin = offsetof(sockaddr_un, sun_path);
  if (name.size <= begin) return "";
  const size_t size = std::min<size_t>(name.size - begin, sizeof(address.sun_path));
  if (address.sun_path[0] == '\0') return "@" + std::string(address.sun_path + 1, size - 1);
  return {address.sun_path, strnlen(address.sun_path, size)};
}

int Option(int fd, int option) {
  int value = 0;
  socklen_t size = sizeof(value);
  return getsockopt(fd, SOL_SOCKET, option, &value, &size) == 0 ? value : -1;
}

std::string UnixPeer(int fd, bool connected, const SocketName& peer, const SocketName& own) {
  std::string text = connected ? UnixText(peer) : "";
  // Of the two ends of a connection, only the one that listened has a name.
  if (text.empty()) text = UnixText(own);
  ucred process{};
  socklen_t size = sizeof(process);
  if (connected && getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &process, &size) == 0 &&
      process.pid > 0) {
    text += (text.empty() ? "pid " : ", pid ") + std::to_string(process.pid);
  }
  return text;
}

// Empty: it is no socket, or none any more.
std::optional<std::string> DescribeSocket(int fd) {
  SocketName own, peer;
  const int family = Option(fd, SO_DOMAIN), type = Option(fd, SO_TYPE);
  const int listens = Option(fd, SO_ACCEPTCONN);
  if (family < 0 || type < 0 || listens < 0 ||
      getsockname(fd, reinterpret_cast<sockaddr*>(&own.address), &own.size) != 0) {
    return {};
  }
  const bool connected =
      getpeername(fd, reinterpret_cast<sockaddr*>(&peer.address), &peer.size) == 0;
  if (!connected && (errno == ENOTSOCK || errno == EBADF)) return {};
  if (family == AF_UNIX) {
    const std::string name = UnixPeer(fd, connected, peer, own);
    return (listens == 1 ? "unix, listening on " : "unix ") + (name.empty() ? "socket" : name);
  }
  if (family != AF_INET && family != AF_INET6) {
    return family == AF_NETLINK ? "netlink" : "socket of family " + std::to_string(family);
  }
  const std::string kind = type == SOCK_STREAM ? "tcp" : "udp";
  if (connected) return kind + " " + IpText(peer);
  return kind + (listens == 1 ? ", listening on " : ", not connected, bound to ") + IpText(own);
}

std::string DescribeFile(std::string file) {
  constexpr std::string_view kAnonymous = "anon_inode:";
  if (file.starts_with("pipe:")) return "pipe";
  if (file == "anon_inode:[eventpoll]") return "epoll";
  if (file.starts_with(kAnonymous)) {
    file.erase(0, kAnonymous.size());
    if (file.starts_with('[') && file.ends_with(']')) file = file.substr(1, file.size() - 2);
  }
  return SafeText(std::move(file), kMaxSafeName);
}

std::vector<int> InPoll(const KernelPlace& place, size_t most) {
  std::vector<int> fds;
  for (uint64_t i = 0; i < place.arguments[1] && fds.size() < most && i < 64; ++i) {
    pollfd one{};
    if (!ReadOwn(place.arguments[0] + i * sizeof(one), &one, sizeof(one))) break;
    if (one.fd >= 0) fds.push_back(one.fd);
  }
  return fds;
}

std::vector<int> InSelect(const KernelPlace& place, size_t most) {
  std::vector<int> fds;
  const auto count = std::min<uint64_t>(place.arguments[0], FD_SETSIZE);
  std::array<fd_set, 3> sets{};
  for (size_t i = 0; i < sets.size(); ++i) {
    const uint64_t at = place.arguments[i + 1];
    // Only so much of it was given; where it cannot be read, it is empty.
    if (at != 0 && !ReadOwn(at, &sets[i], (count + 7) / 8)) FD_ZERO(&sets[i]);
  }
  for (uint64_t fd = 0; fd < count && fds.size() < most; ++fd) {
    const bool in_any = std::any_of(sets.begin(), sets.end(),
                                    [&](const fd_set& set) { return FD_ISSET(fd, &set); });
    if (in_any) fds.push_back(static_cast<int>(fd));
  }
  return fds;
}

std::vector<int> InEpoll(int epoll, size_t most) {
  std::vector<int> fds;
  const std::string path = "/proc/self/fdinfo/" + std::to_string(epoll);
  const UniqueFd file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  std::array<char, 4096> buffer;
  const ssize_t size = file ? read(file.get(), buffer.data(), buffer.size() - 1) : -1;
  if (size <= 0) return fds;
  buffer[static_cast<size_t>(size)] = '\0';
  constexpr std::string_view kKey = "tfd:";
  for (const char* at = std::strstr(buffer.data(), kKey.data()); at != nullptr && fds.size() < most;
       at = std::strstr(at, kKey.data())) {
    at += kKey.size();
    fds.push_back(std::atoi(at));
  }
  return fds;
}

}  // namespace

std::string FileOf(int fd) {
  std::array<char, PATH_MAX> file;
  const std::string link = "/proc/self/fd/" + std::to_string(fd);
  const ssize_t size = readlink(link.c_str(), file.data(), file.size());
  return size <= 0 ? "" : std::string(file.data(), static_cast<size_t>(size));
}

std::string DescribeFd(int fd) {
  std::string before = FileOf(fd);
  for (int look = 0; look < 3 && !before.empty(); ++look) {
    if (!before.starts_with("socket:")) return DescribeFile(std::move(before));
    auto text = DescribeSocket(fd);
    std::string after = FileOf(fd);
    // Not by a duplicate, which would be sure: it keeps a connection open that its owner closes.
    if (text && after == before) return SafeText(std::move(*text), kMaxSafeName);
    before = std::move(after);
  }
  return before.empty() ? "" : "reused all the time";
}

std::vector<int> DescriptorsOf(const KernelPlace& place, size_t most) {
  const bool in_call = place.kind == KernelPlace::Kind::kCall;
  const SystemCall* const call = in_call ? FindSystemCall(place.number) : nullptr;
  if (call == nullptr || most == 0) return {};
  const int first = static_cast<int>(place.arguments[0]);
  switch (call->on) {
    case SystemCall::On::kNothing: return {};
    case SystemCall::On::kDescriptor: return {first};
    case SystemCall::On::kPoll: return InPoll(place, most);
    case SystemCall::On::kSelect: return InSelect(place, most);
    case SystemCall::On::kEpoll: return InEpoll(first, most);
  }
  return {};
}

}  // namespace lastcall
