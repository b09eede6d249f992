// A unix socket at a path, which appears there when it is complete and listens.
#pragma once

#include <sys/types.h>

#include <lastcall/base/result.h>
#include <lastcall/base/unique_fd.h>
#include <lastcall/net/address.h>

namespace lastcall {

// More than the kernel's default: while a process is down its clients wait in this queue. The
// kernel cuts it to net.core.somaxconn.
inline constexpr int kListenBacklog = 4096;

struct PathSocket {
  UniqueFd fd;
  dev_t device = 0;  // of the path: to know it again
  ino_t inode = 0;
};

// Replaces a socket that nobody listens on; touches no other file. See Listener::Bind.
Result<PathSocket> ListenOnPath(const Address& address);

// Whether ListenOnPath would succeed now; no file appears.
Result<> ProbePath(const Address& address);
// Whether this user may give a socket the mode and the group of the address, as far as can be known.
Result<> ProbeRights(const Address& address);
// Gives the path, where it is still that file, the mode and the group of the address.
Result<> SetPathRights(const Address& address, dev_t device, ino_t inode);

}  // namespace lastcall
