// Loads a plugin that nobody but root and this process's user could have changed, nor the libraries
// that come with it.
#pragma once

#include <string>

#include <lastcall/base/result.h>
#include <lastcall/plugin/loader.h>

namespace lastcall {

// The supervisor has looked as well, but who loads it is the one to be sure. Blocks and fails: as
// PluginLibrary::Open; kFailedPrecondition, others could have changed it or one of its libraries,
// with the remedy. Those the dynamic loader finds, so they are judged when they have been loaded.
Result<PluginLibrary> OpenTrustedPlugin(const std::string& path);

}  // namespace lastcall
