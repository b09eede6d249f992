// Trying plugins in throw-away children before anything depends on them. Loading a plugin runs its
// code: one that aborts, hangs or ends the process there does it to a child, and is known by name.
#pragma once

#include <stop_token>
#include <string>
#include <vector>

#include "daemon/config/config.h"

namespace lastcall {

struct PreflightReport {
  std::vector<ConfigProblem> problems;  // of plugins that may not be used
  std::vector<std::string> warnings;    // of those that may
  std::vector<std::string> failures;    // why some could not be tried, whatever they are
};

// Loads every plugin of `processes`, those of a process together, as they would run, and lets each
// Check its configuration. `host_program`: lastcall-host.
// Blocks: until all are tried, config.ready for each plugin at most; or until stopped, when what is
// not known yet is left out. Threads: any.
PreflightReport TryPlugins(const Config& config, const std::vector<std::string>& processes,
                           const std::string& host_program, const std::stop_token& stop = {});

// The longest that it may take, where nothing hangs but plugins.
Duration LongestPreflight(const Config& config);

}  // namespace lastcall
