// A unix socket at a path, which appears there when it is complete and listens.
#pragma once

#include <sys/types.h>

#include <lastcall/base/result.h>
#include <lastcall/base/unique_fd.h>
#include <lastcall/rpc/address.h>

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

}  // namespace lastcall
