#include "daemon/trusted_plugin.h"

#include <unistd.h>

#include <utility>

#include <lastcall/base/trust.h>

namespace lastcall {

Result<PluginLibrary> OpenTrustedPlugin(const std::string& path) {
  auto found = Trust(geteuid()).Find(path);
  if (!found) return tl::unexpected(found.error().error);
  // Kept for ever, as the plugin is: the dynamic loader knows it by this path, and reads beside it
  // what it needs later ($ORIGIN).
  const auto* const file = new TrustedFile(std::move(*found));
  return PluginLibrary::Open(path, file->Reach());
}

}  // namespace lastcall
