// What can be known of a configuration's plugins without loading them.
#pragma once

#include <string>
#include <vector>

#include "daemon/config.h"

namespace lastcall {

// Reads the manifest of every plugin: missing, foreign and mismatched ones, and those that cannot be
// in one process.
std::vector<ConfigProblem> CheckPlugins(const Config& config);

// For `lastcalld --check`: what would run, and the longest that stopping can take.
std::string Summary(const Config& config);

}  // namespace lastcall
