// The files of a configuration as one TOML table, every value with the place it came from.
#pragma once

#include <string>
#include <vector>

#include <toml++/toml.h>

#include "daemon/config/config.h"

namespace lastcall {

struct ConfigFiles {
  toml::table root;
  std::vector<std::string> files;  // absolute, in the order in which they were read
  std::string directory;           // of relative paths
  bool pipe = false;               // can be read once
};

// Reads `file`, then the drop-ins NAME.d/*.toml beside it in lexical order: tables merge,
// everything else replaces what was there. Blocks: reads files. Fails: with a problem for each file
// that cannot be read or is not TOML, or is too large or too deep for any use.
Checked<ConfigFiles> ReadConfigFiles(const std::string& file);

// The same of a pipe, which has no drop-ins; `name` is its place in problems. Blocks: until its
// writers have closed it.
Checked<ConfigFiles> ReadConfigPipe(int fd, const std::string& name);

// The same of a text; `name` is its place in problems.
Checked<ConfigFiles> ParseConfigText(const std::string& text, const std::string& name);

}  // namespace lastcall
