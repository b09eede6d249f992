// Owners, modes and paths in messages about files.
#pragma once

#include <sys/types.h>

#include <string>

namespace lastcall {

// "alice (uid 1000)", or "uid 1000" when this machine knows no such user. Blocks: where users are
// kept elsewhere, to ask; so does GroupName.
std::string OwnerText(uid_t uid);
// "shop", or its number.
std::string GroupName(gid_t gid);
// "mode 0644".
std::string ModeText(mode_t mode);
// A path as a shell takes it.
std::string ShellArgument(const std::string& path);

}  // namespace lastcall
