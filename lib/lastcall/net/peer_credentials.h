// Who is at the other end of a unix socket, as the kernel knows.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

namespace lastcall {

// The process that connected, as it was at that moment: unix(7), SO_PEERCRED.
struct Peer {
  pid_t pid = 0;  // 0: in a PID namespace that is not ours
  uid_t uid = 0;
  std::vector<gid_t> groups;  // its own first; then, after AddGroups, the supplementary ones
};

// Empty: the kernel does not say; then nobody is to be believed. Cost: one system call.
std::optional<Peer> PeerOf(int fd);
// Adds the supplementary groups: SO_PEERGROUPS. False: the kernel does not say.
bool AddGroups(int fd, Peer& peer);

// Empty where it has none. Blocks: where users are kept elsewhere, to ask. See UserNames.
std::string UserName(uid_t uid);

}  // namespace lastcall
