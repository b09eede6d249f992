// The sections of a configuration that describe one server.
#pragma once

#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/config/config.h"
#include "daemon/config/section.h"

namespace lastcall {

// What the sections of a server refer to.
struct ConfigContext {
  std::string directory;           // of relative paths
  std::string plugin_dir;          // of plugins by name
  std::set<std::string> programs;  // processes that have a command, and so no plugins
};

struct ServerSection {
  ServerConfig server;
  std::vector<SourceLocation> listen_locations;  // of server.listen, one by one
};

// Reads [server.NAME] with everything below it.
ServerSection ReadServer(Section section, const std::string& name, const ConfigContext& context,
                         Problems& problems);

// Adds a plugin by its path, or, where `entry` has no '/' and `by_name` is set, by its name. Its
// configuration is empty. Fails: kInvalidArgument.
Result<PluginSpec*> AddPlugin(std::string_view entry, bool by_name, const ConfigContext& context,
                              ServerConfig& server);

// Letters, digits and _ . - only.
bool IsName(std::string_view text);

}  // namespace lastcall
