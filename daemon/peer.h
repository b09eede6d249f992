// Who is at the other end of a unix socket, as the kernel knows.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

namespace lastcall {

// The process that connected, as it was at that moment: unix(7), SO_PEERCRED and SO_PEERGROUPS.
struct Peer {
  pid_t pid = 0;  // 0: in a PID namespace that is not ours
  uid_t uid = 0;
  std::vector<gid_t> groups;  // its own first, then the supplementary ones
};

// Empty: the kernel does not say; then nobody is to be believed.
std::optional<Peer> PeerOf(int fd);

// "alice (uid 1000)", "uid 1000" where it has no name. Blocks: where users are kept elsewhere, to
// ask.
std::string UserText(uid_t uid);
// Empty where it has none. Blocks: as UserText.
std::string UserName(uid_t uid);

}  // namespace lastcall
