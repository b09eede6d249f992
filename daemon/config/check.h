// What can be known of a configuration's plugins without loading them.
#pragma once

#include <string>
#include <vector>

#include "daemon/config/config.h"

namespace lastcall {

// Reads the manifest of every plugin: missing, foreign and mismatched ones, and those that cannot be
// in one process.
std::vector<ConfigProblem> CheckPlugins(const Config& config);

// Reads and checks the certificates and keys of every server into the configuration.
std::vector<ConfigProblem> ReadCertificates(Config& config);
// Of certificates that are served though it is too early or too late for them, and of keys that
// others may read. Blocks: looks at the keys' directories.
std::vector<std::string> TlsWarnings(const Config& config, WallTime now);

// For `lastcalld --check`: what would run, and the longest that stopping can take.
std::string Summary(const Config& config);

}  // namespace lastcall
