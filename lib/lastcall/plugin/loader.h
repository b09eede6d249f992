// Loads plugins. What would crash or abort the process is found before the file is loaded.
//
//   Result<PluginLibrary> echo = PluginLibrary::Open("/usr/lib/lastcall/plugins/echo.so");
//   Result<std::unique_ptr<Plugin>> plugin = echo->Create(host);
#pragma once

#include <lastcall/base/result.h>
#include <lastcall/plugin/manifest.h>
#include <lastcall/plugin/plugin.h>

#include <memory>
#include <string>

namespace lastcall {

// A loaded plugin; a cheap copyable view, for it is never unloaded: protobuf cannot be.
class PluginLibrary {
 public:
  // Opening a loaded one again is the same one. Blocks: reads the file and runs its static
  // initialisers.
  // Fails: see ReadManifest; kFailedPrecondition when it does not fit this host (see Mismatches),
  // when it brings .proto files that this process has already, or when something it needs is
  // missing.
  // `reach`: by which path it is loaded, when that is not `path`. See TrustedFile.
  static Result<PluginLibrary> Open(const std::string& path, const std::string& reach = {});

  const Manifest& manifest() const { return manifest_; }
  const PluginEntry& entry() const { return *entry_; }

  // Makes one instance. Fails: kInvalidArgument for a ConfigError of the plugin's constructor,
  // kInternal for whatever else it throws; both name the plugin.
  Result<std::unique_ptr<Plugin>> Create(PluginHost& host) const;

  // The plugin's own Check, if it has one. Fails: as Create.
  Result<> Check(const PluginConfig& config) const;

 private:
  PluginLibrary(Manifest manifest, const PluginEntry* entry)
      : manifest_(std::move(manifest)), entry_(entry) {}

  Manifest manifest_;
  const PluginEntry* entry_;
};

// The same for an entry that is in this program. `name`: of the plugin.
Result<std::unique_ptr<Plugin>> CreatePlugin(const PluginEntry& entry, PluginHost& host);
Result<> CheckPlugin(const PluginEntry& entry, const std::string& name, const PluginConfig& config);

namespace internal {

// What the dynamic loader says, for people: "it needs shop::Missing(int), which …".
std::string ExplainLoadError(const std::string& path, const std::string& message);

}  // namespace internal
}  // namespace lastcall
