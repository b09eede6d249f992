// The groups of [admin], looked up on this machine.
#pragma once

#include <string>
#include <vector>

#include "daemon/admin/roles.h"
#include "daemon/config/config.h"

namespace lastcall {

// As the groups are now; a reload looks again. Blocks: where groups are kept elsewhere, to ask.
Roles RolesOf(const Config& config);

// One for each group that a file names and that this machine does not have. No error: nobody gets
// in by it, and a directory of users that is away must not keep the servers from starting.
std::vector<std::string> GroupWarnings(const Config& config);

}  // namespace lastcall
