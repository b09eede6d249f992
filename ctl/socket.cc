#include "socket.h"

#include <fcntl.h>
#include <lastcall/base/runtime_dir.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>

namespace lastcall {
namespace {

constexpr char kSystemSocket[] = "/run/lastcall/admin.sock";

std::string Environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

int ErrnoOr(int result) { return result == 0 ? 0 : errno; }

// gRPC wants a descriptor that does not block; the time-out is for connect alone.
int ConnectFd(int fd, const sockaddr_un& address, Duration patience) {
  if (patience != kForever) {
    // All zero would mean forever.
    const auto us = std::max<int64_t>(patience.count() / 1000, 1);
    const timeval limit{.tv_sec = us / 1'000'000, .tv_usec = us % 1'000'000};
    if (::setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit) != 0) return errno;
  }
  const auto* generic = reinterpret_cast<const sockaddr*>(&address);
  while (::connect(fd, generic, sizeof address) != 0) {
    if (errno != EINTR) return errno;
  }
  return ErrnoOr(::fcntl(fd, F_SETFL, O_NONBLOCK));
}

std::string Remedy(int errno_value) {
  switch (errno_value) {
    case ENOENT:
    case ENOTDIR:
      return "there is no such socket. Start lastcalld (under systemd: \"systemctl start "
             "lastcalld\")"
             ", or name another socket with --socket or LASTCALL_SOCKET.";
    case ECONNREFUSED:
      return "no process listens there: lastcalld is not running, and left its socket behind. "
             "Start it "
             "(under systemd: \"systemctl start lastcalld\").";
    case EACCES:
    case EPERM:
      return "permission denied: this user may not enter its directory. Use sudo, or have the "
             "directory "
             "opened (chmod o+x): lastcalld itself then decides who may do what, by the groups of "
             "its [admin] section (usually lastcall-admin and lastcall-view).";
    case EAGAIN: return "lastcalld took no connection in time; is it frozen?";
    case ENAMETOOLONG:
      return "a socket's path has at most 107 bytes. Name a shorter one with --socket.";
    case EPROTOTYPE:
    case ENOTSOCK:
      return "this is not lastcalld's admin socket. Name it with --socket or LASTCALL_SOCKET.";
    default: return ErrnoText(errno_value) + ".";
  }
}

}  // namespace

SocketPath FindSocket(const std::string& given) {
  if (!given.empty()) return {given, "given by --socket"};
  if (const std::string path = Environment("LASTCALL_SOCKET"); !path.empty()) {
    return {path, "given by LASTCALL_SOCKET"};
  }
  const std::string own = SocketInRuntimeDirs(std::getenv("XDG_RUNTIME_DIR"), ::getuid());
  if (!own.empty()) return {own, "found among this user's own"};
  return {kSystemSocket, "the default"};
}

tl::expected<UniqueFd, int> ConnectTo(const std::string& path, Duration patience) {
  sockaddr_un address{.sun_family = AF_UNIX};
  if (path.size() >= sizeof address.sun_path) return tl::unexpected(ENAMETOOLONG);
  std::memcpy(address.sun_path, path.data(), path.size());
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd) return tl::unexpected(errno);
  if (const int error = ConnectFd(fd.get(), address, patience)) return tl::unexpected(error);
  return fd;
}

pid_t ListenerOf(const UniqueFd& connection) {
  ucred credentials{};  // as they were at listen(2)
  socklen_t size = sizeof(credentials);
  getsockopt(connection.get(), SOL_SOCKET, SO_PEERCRED, &credentials, &size);
  return credentials.pid;
}

Error ExplainConnect(const SocketPath& socket, int errno_value) {
  const bool denied = errno_value == EACCES || errno_value == EPERM;
  const Code code = denied                  ? Code::kPermissionDenied
                    : errno_value == EAGAIN ? Code::kDeadlineExceeded
                                            : Code::kUnavailable;
  return {code, "cannot reach lastcalld at " + socket.path + " (" + socket.origin +
                    "): " + Remedy(errno_value)};
}

bool NobodyThere(int errno_value) {
  return errno_value == ENOENT || errno_value == ENOTDIR || errno_value == ECONNREFUSED;
}

}  // namespace lastcall
