// Where a daemon that one user runs for himself has its admin socket. One rule, for lastcalld, which
// makes the directory, and for lastcallctl, which looks for it.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

namespace lastcall {

constexpr char kAdminSocketName[] = "admin.sock";

// Of `user`, with `runtime` as XDG_RUNTIME_DIR (null or empty: it has none): the first is where
// lastcalld --plugin puts its socket. The others are where one does that was started with another
// XDG_RUNTIME_DIR, or without (su, cron and sudo take it away).
std::vector<std::string> RuntimeDirs(const char* runtime, uid_t user);

// Whether that is a directory of ours that nobody else may write to: in /tmp anybody could have made
// one of that name, and would be asked in the daemon's place.
bool IsOursAlone(const std::string& directory);

// The first of them with a socket that is ours; empty: there is none.
std::string SocketInRuntimeDirs(const char* runtime, uid_t user);

}  // namespace lastcall
