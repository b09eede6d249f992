// Where the daemon's admin socket is, and a connection to it.
#pragma once

#include <lastcall/base/clock.h>
#include <lastcall/base/result.h>
#include <lastcall/base/unique_fd.h>

#include <sys/types.h>

#include <string>

namespace lastcall {

struct SocketPath {
  std::string path;
  std::string origin;  // why this one: "given by --socket", "the default", …
};

// `given` (--socket) if it is not empty, else $LASTCALL_SOCKET, else that of a daemon which this user
// runs for himself (lastcall/base/runtime_dir.h), if there is one, else the system's: what was said on
// purpose wins.
SocketPath FindSocket(const std::string& given);

// Blocks: while the daemon's queue of connections is full, at most `patience`.
// Fails: with connect(2)'s errno; EAGAIN after `patience`.
tl::expected<UniqueFd, int> ConnectTo(const std::string& path, Duration patience);

// The process that listens at the other end; 0: the kernel does not say (another pid namespace).
pid_t ListenerOf(const UniqueFd& connection);

// For people: what that errno means here, and what to do about it.
Error ExplainConnect(const SocketPath& socket, int errno_value);

// Whether that errno means that no daemon runs there; it may still come.
bool NobodyThere(int errno_value);

}  // namespace lastcall
