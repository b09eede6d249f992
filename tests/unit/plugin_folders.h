// Where the build left the plugins that work, and those that are wrong in one way each.
#pragma once

#include <filesystem>

namespace lastcall {

inline const std::filesystem::path kPlugins = LASTCALL_PLUGINS;
inline const std::filesystem::path kWrongPlugins = LASTCALL_WRONG_PLUGINS;

}  // namespace lastcall
