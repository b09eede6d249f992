// Loads a plugin that nobody but root and this process's user could have changed.
#pragma once

#include <string>

#include <lastcall/base/result.h>
#include <lastcall/plugin/loader.h>

namespace lastcall {

// The supervisor has looked as well, but who loads it is the one to be sure. Blocks and fails: as
// PluginLibrary::Open; kFailedPrecondition, others could have changed it, with the remedy.
Result<PluginLibrary> OpenTrustedPlugin(const std::string& path);

}  // namespace lastcall
