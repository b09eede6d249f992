// Groups of this machine, or of the directory that it asks.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>

namespace lastcall {

// The number of the group; empty: there is none of that name. Blocks: where groups are kept
// elsewhere, to ask. Threads: any.
std::optional<gid_t> GroupNamed(const std::string& name);

}  // namespace lastcall
