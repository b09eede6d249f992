// Whether nobody but root and the daemon's user can change what the daemon runs and loads.
#pragma once

#include <string>
#include <vector>

#include "daemon/config/config.h"

namespace lastcall {

// Looks at this program, at `host_program` and at every plugin; what is missing is for others to
// say. (The configuration and its drop-ins were looked at when they were read, certificates and
// keys are when they are read, and plugins once more by the host that loads them.)
std::vector<ConfigProblem> CheckTrust(const Config& config, const std::string& host_program);

}  // namespace lastcall
