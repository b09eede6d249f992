#include "host/trusted_plugin.h"

#include <link.h>

#include <deque>
#include <mutex>
#include <set>
#include <utility>
#include <vector>

#include <lastcall/base/trust.h>

namespace lastcall {
namespace {

// The files that the dynamic loader has mapped, by the paths at which it found them; but for the
// program itself, which has no name there, and the kernel's own, which is no path.
std::set<std::string> Mapped() {
  std::set<std::string> paths;
  dl_iterate_phdr(
      [](dl_phdr_info* info, size_t, void* to) {
        const std::string name = info->dlpi_name;
        if (name.starts_with('/')) static_cast<std::set<std::string>*>(to)->insert(name);
        return 0;
      },
      &paths);
  return paths;
}

// Of those that came since `before`. One that is gone by now is nobody's to judge.
std::vector<Flaw> FlawsSince(const std::set<std::string>& before, const Trust& trust) {
  std::vector<Flaw> flaws;
  for (const std::string& path : Mapped()) {
    if (before.contains(path)) continue;
    const auto found = trust.Find(path);
    if (found) continue;
    flaws.insert(flaws.end(), found.error().flaws.begin(), found.error().flaws.end());
  }
  return flaws;
}

}  // namespace

Result<PluginLibrary> OpenTrustedPlugin(const std::string& path) {
  const Trust trust = Trust::OfThisProcess();
  auto found = trust.Find(path);
  if (!found) return tl::unexpected(found.error().error);
  // Kept forever, as the plugin is: the dynamic loader knows it by this path, and reads beside it
  // what it needs later ($ORIGIN).
  static std::mutex mutex;
  static auto* const kept = new std::deque<TrustedFile>;
  std::lock_guard lock(mutex);
  const auto before = Mapped();
  auto library = PluginLibrary::Open(path, kept->emplace_back(std::move(*found)).Reach());
  if (!library) return library;
  if (const auto flaws = FlawsSince(before, trust); !flaws.empty()) {
    return Fail(Code::kFailedPrecondition,
                path + " needs libraries that are not trusted: " + Describe(flaws));
  }
  return library;
}

}  // namespace lastcall
