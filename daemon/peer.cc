#include "daemon/peer.h"

#include <pwd.h>
#include <sys/socket.h>

#include <cerrno>

#include <lastcall/base/safe_text.h>

namespace lastcall {

std::optional<Peer> PeerOf(int fd) {
  ucred credentials{};
  socklen_t size = sizeof(credentials);
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0) return std::nullopt;
  // Asked twice: the kernel says how many there are when they do not fit.
  std::vector<gid_t> groups(32);
  size = static_cast<socklen_t>(groups.size() * sizeof(gid_t));
  int failed = getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups.data(), &size);
  if (failed != 0 && errno == ERANGE) {
    groups.resize(size / sizeof(gid_t));
    failed = getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups.data(), &size);
  }
  if (failed != 0) return std::nullopt;
  groups.resize(size / sizeof(gid_t));
  groups.insert(groups.begin(), credentials.gid);
  return Peer{credentials.pid, credentials.uid, std::move(groups)};
}

std::string UserName(uid_t uid) {
  std::vector<char> buffer(4096);
  passwd entry{};
  passwd* found = nullptr;
  while (getpwuid_r(uid, &entry, buffer.data(), buffer.size(), &found) == ERANGE) {
    buffer.resize(buffer.size() * 2);
  }
  return found == nullptr ? "" : SafeText(found->pw_name, kMaxSafeName);
}

std::string UserText(uid_t uid) {
  const std::string name = UserName(uid);
  const std::string number = "uid " + std::to_string(uid);
  return name.empty() ? number : name + " (" + number + ")";
}

}  // namespace lastcall
