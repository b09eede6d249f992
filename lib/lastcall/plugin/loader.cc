#include "lastcall/plugin/loader.h"

#include <cxxabi.h>
#include <dlfcn.h>
#include <google/protobuf/descriptor.h>

#include <cstdlib>
#include <exception>
#include <filesystem>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <typeinfo>
#include <utility>
#include <vector>

#include "lastcall/base/safe_text.h"

namespace lastcall {
namespace {

// What its file says of itself, and the dynamic loader of it, is any text.
tl::unexpected<Error> Refuse(const std::string& path, const std::string& why) {
  return Fail(Code::kFailedPrecondition,
              SafeText("the plugin " + path + " was not loaded: " + why));
}

std::string Join(const std::vector<std::string>& lines) {
  std::string text;
  for (const std::string& line : lines) text += (text.empty() ? "" : "; ") + line;
  return text;
}

std::string Demangle(const std::string& symbol) {
  const std::unique_ptr<char, decltype(&std::free)> name(
      abi::__cxa_demangle(symbol.c_str(), nullptr, nullptr, nullptr), &std::free);
  return name != nullptr ? name.get() : symbol;
}

// What this process has already of that which the plugin brings: protobuf would abort at the second
// copy. The reader's Clashes() finds it among plugins; this also sees the host's own files.
std::string AlreadyHere(const Manifest& manifest) {
  const auto* pool = google::protobuf::DescriptorPool::generated_pool();
  for (const std::string& file : manifest.files) {
    if (pool->FindFileByName(file) != nullptr) return "the file " + file;
  }
  for (const std::string& symbol : manifest.symbols) {
    if (pool->FindFileContainingSymbol(symbol) != nullptr) return symbol;
  }
  return "";
}

bool IsLoaded(const std::string& path) {
  return dlopen(path.c_str(), RTLD_NOW | RTLD_NOLOAD) != nullptr;
}

Result<const PluginEntry*> FindEntry(void* library, const std::string& path) {
  const auto* entry = static_cast<const PluginEntry*>(dlsym(library, kPluginEntrySymbol));
  if (entry == nullptr) {
    return Refuse(path, "it does not say what its plugin is; add LASTCALL_PLUGIN(Type, \"1.0.0\")");
  }
  if (entry->abi != kPluginAbi) {
    return Refuse(path, "its entry is for plugin ABI " + std::to_string(entry->abi) +
                            ", this host has " + std::to_string(kPluginAbi) + "; rebuild it");
  }
  if (entry->create == nullptr) return Refuse(path, "its entry cannot make a plugin");
  return entry;
}

// Runs the plugin's own code, which may throw anything.
template <class Run>
auto Guard(const std::string& subject, Run run) -> Result<decltype(run())> {
  try {
    if constexpr (std::is_void_v<decltype(run())>) {
      run();
      return {};
    } else {
      return run();
    }
  } catch (const ConfigError& error) {
    return Fail(Code::kInvalidArgument, subject + ": " + SafeText(error.what()));
  } catch (const std::exception& error) {
    // Not the configuration's fault: a database that is away now may be back at the next start.
    return Fail(Code::kInternal, subject + ": " + SafeText(error.what()));
  } catch (...) {
    const std::type_info* type = abi::__cxa_current_exception_type();
    return Fail(Code::kInternal,
                subject + ": it threw " +
                    (type != nullptr ? SafeText(Demangle(type->name())) : "something") +
                    ", which is not a std::exception and says nothing");
  }
}

}  // namespace

std::string internal::ExplainLoadError(const std::string& path, const std::string& message) {
  constexpr std::string_view kUndefined = "undefined symbol: ";
  constexpr std::string_view kNoFile = ": cannot open shared object file";
  if (const size_t at = message.find(kUndefined); at != message.npos) {
    const size_t begin = at + kUndefined.size();
    const std::string name =
        Demangle(message.substr(begin, message.find_first_of(", ", begin) - begin));
    return "it needs " + name +
           (name.starts_with("lastcall::")
                ? ", which this program does not export; rebuild the plugin against this Lastcall "
                  "(or, in a program of your own, call lastcall_export_sdk())"
                : ", which nothing in this process defines; link the library that has it "
                  "(target_link_libraries)");
  }
  // The plugin itself was there a moment ago, so it is one of the libraries that it links.
  if (const size_t at = message.find(kNoFile); at != message.npos && !message.starts_with(path)) {
    return "it needs the library " + message.substr(0, at) + ", which is not installed";
  }
  const std::string prefix = path + ": ";
  return message.starts_with(prefix) ? message.substr(prefix.size()) : message;
}

Result<PluginLibrary> PluginLibrary::Open(const std::string& path, const std::string& reach) {
  Result<Manifest> manifest = ReadManifest(path);
  if (!manifest) return tl::unexpected(manifest.error());
  const auto mismatches = Mismatches(*manifest, HostManifest());
  if (!mismatches.empty()) return Refuse(path, Join(mismatches) + "; rebuild it for this host");

  // Without a slash dlopen() would search for it elsewhere.
  std::error_code error;
  const std::string absolute =
      std::filesystem::absolute(reach.empty() ? path : reach, error).string();
  if (error) return Refuse(path, error.message());
  if (!IsLoaded(absolute)) {
    if (const std::string what = AlreadyHere(*manifest); !what.empty()) {
      return Refuse(path, "it brings " + what +
                              ", which this process has already and can have only once; give its "
                              "server another process (process = \"…\"), or leave out what is the "
                              "host's own");
    }
  }
  void* library = dlopen(absolute.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) return Refuse(path, internal::ExplainLoadError(absolute, dlerror()));
  const Result<const PluginEntry*> entry = FindEntry(library, path);
  if (!entry) return tl::unexpected(entry.error());
  if ((*entry)->version != nullptr) manifest->version = SafeText((*entry)->version, kMaxSafeName);
  return PluginLibrary(std::move(*manifest), *entry);
}

Result<std::unique_ptr<Plugin>> PluginLibrary::Create(PluginHost& host) const {
  return CreatePlugin(*entry_, host);
}

Result<> PluginLibrary::Check(const PluginConfig& config) const {
  return CheckPlugin(*entry_, manifest_.name, config);
}

Result<std::unique_ptr<Plugin>> CreatePlugin(const PluginEntry& entry, PluginHost& host) {
  const std::string name(host.plugin());
  auto plugin = Guard("plugin " + name + " did not start", [&] { return entry.create(host); });
  if (plugin && *plugin == nullptr) {
    return Fail(Code::kFailedPrecondition, "plugin " + name + " did not start: it returned null");
  }
  return plugin;
}

Result<> CheckPlugin(const PluginEntry& entry, const std::string& name,
                     const PluginConfig& config) {
  if (entry.check == nullptr) return {};
  return Guard("plugin " + name + " refuses its configuration", [&] { entry.check(config); });
}

}  // namespace lastcall
