#include "daemon/trusted_plugin.h"

#include <unistd.h>

#include <deque>
#include <mutex>
#include <utility>

#include <lastcall/base/trust.h>

namespace lastcall {

Result<PluginLibrary> OpenTrustedPlugin(const std::string& path) {
  auto found = Trust(geteuid()).Find(path);
  if (!found) return tl::unexpected(found.error().error);
  // Kept for ever, as the plugin is: the dynamic loader knows it by this path, and reads beside it
  // what it needs later ($ORIGIN).
  static std::mutex mutex;
  static auto* const kept = new std::deque<TrustedFile>;
  std::lock_guard lock(mutex);
  return PluginLibrary::Open(path, kept->emplace_back(std::move(*found)).Reach());
}

}  // namespace lastcall
