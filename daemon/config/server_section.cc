#include "daemon/config/server_section.h"

#include <algorithm>
#include <filesystem>
#include <utility>

#include <lastcall/base/safe_text.h>
#include <lastcall/base/spelling.h>

#include "daemon/config/problems.h"

namespace lastcall {
namespace {

using Values = std::map<std::string, PluginConfig::Value, std::less<>>;

constexpr char kNameRule[] = "a name has letters, digits and _ . - only";

// gRPC takes milliseconds as int, which is 24 days; zero leaves its own default.
constexpr LengthRange kGrpcLength{
    .least = std::chrono::milliseconds(1), .most = std::chrono::hours(24 * 24), .zero = true};

void ReadListen(Section& section, const ConfigContext& context, Problems& problems,
                ServerSection& out) {
  const auto texts = section.Texts("listen", "[\"127.0.0.1:50051\"]", "the server has no address");
  for (const LocatedText& each : texts.value_or(std::vector<LocatedText>())) {
    auto address = Address::Parse(each.text, context.directory);
    if (!address) {
      problems.Add(each.location, section.NameOf("listen") + ": " + address.error().message);
      continue;
    }
    out.server.listen.push_back(std::move(*address));
    out.listen_locations.push_back(each.location);
  }
}

void ReadPlugins(Section& section, const ConfigContext& context, Problems& problems,
                 ServerConfig& server) {
  const bool needed = !context.programs.contains(server.process);
  const auto texts =
      section.Texts("plugins", "[\"echo\"]", needed ? "the server has no plugin" : "");
  for (const LocatedText& each : texts.value_or(std::vector<LocatedText>())) {
    const auto plugin = AddPlugin(each.text, true, context, server);
    if (plugin) {
      (*plugin)->location = each.location;
    } else {
      problems.Add(each.location, section.NameOf("plugins") + ": " + plugin.error().message);
    }
  }
}

void ReadLimits(Section section, ServerLimits& limits) {
  constexpr int64_t kMost = 1'000'000, kGrpcBytes = INT32_MAX;
  constexpr uint64_t kMostMemory = uint64_t{1} << 50;
  section.Integer("connections", 0, kMost, limits.connections);
  section.Integer("streams", 0, kMost, limits.streams);
  section.Bytes("message", kGrpcBytes, limits.message);
  section.Bytes("metadata", kGrpcBytes, limits.metadata);
  section.Bytes("memory", kMostMemory, limits.memory);
  section.Integer("threads", 0, kMost, limits.threads);
  section.Length("keepalive", kGrpcLength, limits.keepalive);
  section.Length("keepalive_timeout", kGrpcLength, limits.keepalive_timeout);
  section.Length("handshake", kGrpcLength, limits.handshake);
  section.Close();
}

// "/package.Service/Method", and nothing else.
bool IsMethodName(std::string_view text) {
  const size_t slash = text.rfind('/');
  return text.starts_with('/') && slash > 1 && slash != text.npos && slash + 1 < text.size() &&
         IsSafeText(text);
}

constexpr LengthRange kStallLength{
    .least = std::chrono::seconds(1), .zero = false, .infinity = true};

void ReadMethod(Section section, StallLimits::Method& method) {
  const bool given = section.Has("stall_after");
  section.Length("stall_after", kStallLength, method.after);
  bool long_polling = false;
  section.Boolean("long_polling", long_polling);
  if (long_polling && given) {
    section.Refuse("long_polling",
                   "a method whose calls may wait has no stall_after; remove one of the two");
  }
  if (!long_polling && !given) {
    section.Refuse("stall_after",
                   "is missing; write one, or long_polling = true, or remove the section");
  }
  const SourceLocation location = section.location();
  method.file = location.file;
  method.line = location.line;
  section.Close();
}

void ReadStalls(Section& section, StallLimits& stalls) {
  section.Length("stall_after", kStallLength, stalls.after);
  Section methods = section.Table("method");
  for (const std::string& name : methods.Keys()) {
    if (!IsMethodName(name)) {
      methods.Refuse(name, "is not the name of a method; write it as \"/package.Service/Method\"");
      continue;
    }
    ReadMethod(methods.Table(name), stalls.methods[name]);
  }
}

void ReadTls(Section& section, const ConfigContext& context, Problems& problems,
             ServerConfig& server) {
  if (!section.Has("tls")) return;
  Section tls = section.Table("tls");
  TlsFiles files;
  const auto read = [&](std::string_view key, std::string& path) {
    tls.Text(key, path);
    if (!path.empty()) path = (std::filesystem::path(context.directory) / path).lexically_normal();
  };
  read("certificate", files.certificate);
  read("key", files.key);
  read("client_ca", files.client_ca);
  tls.Close();
  server.tls_location = tls.location();
  if (files.certificate.empty() || files.key.empty()) {
    problems.Add(server.tls_location,
                 tls.path() + ": " + (files.certificate.empty() ? "certificate" : "key") +
                     " is missing; write both, the paths of PEM files, or remove the section");
  }
  server.tls = std::move(files);
}

// A plugin's tables become keys with dots.
class Flattener {
 public:
  Flattener(std::string section, Problems& problems, Values& values)
      : section_(std::move(section)), problems_(problems), values_(values) {}

  void Add(const toml::table& table, const std::string& prefix) {
    for (auto&& [key, node] : table) AddNode(prefix, std::string(key.str()), node);
  }

 private:
  void AddNode(const std::string& prefix, const std::string& key, const toml::node& node) {
    const std::string name = prefix + key;
    if (key.empty() || key.find('.') != key.npos || !IsSafeText(key)) {
      Refuse(prefix + KeyText(key), node, "a key must not be empty or have a dot in it; rename it");
    } else if (const auto* table = node.as_table()) {
      Add(*table, name + ".");
    } else if (const auto* text = node.as_string()) {
      Put(name, text->get(), node);
    } else if (const auto* integer = node.as_integer()) {
      Put(name, integer->get(), node);
    } else if (const auto* number = node.as_floating_point()) {
      Put(name, number->get(), node);
    } else if (const auto* boolean = node.as_boolean()) {
      Put(name, boolean->get(), node);
    } else if (const auto* array = node.as_array()) {
      AddArray(name, *array);
    } else {
      Refuse(name, node,
             "a plugin cannot take " + std::string(TypeName(node)) + "; write it as a string");
    }
  }

  void AddArray(const std::string& name, const toml::array& array) {
    PluginConfig::StringList texts;
    for (const toml::node& entry : array) {
      const auto* text = entry.as_string();
      if (text == nullptr) {
        Refuse(name, entry,
               "a plugin takes arrays of strings only, found " + std::string(TypeName(entry)) +
                   " in it; write texts, or tables with "
                   "names of their own");
        return;
      }
      texts.push_back(text->get());
    }
    Put(name, std::move(texts), array);
  }

  template <class T>
  void Put(const std::string& name, T value, const toml::node& node) {
    SourceLocation location = LocationOf(node.source());
    values_[name] = {std::move(value), std::move(location.file), location.line};
  }
  void Refuse(const std::string& name, const toml::node& node, const std::string& why) {
    problems_.Add(LocationOf(node.source()), section_ + "." + name + ": " + why);
  }

  const std::string section_;
  Problems& problems_;
  Values& values_;
};

// The plugin that the table `key` of `section` is of; null: there is none, and that is said.
PluginSpec* PluginOf(const std::string& key, Section& section, ServerConfig& server) {
  std::vector<std::string> names;
  for (PluginSpec& plugin : server.plugins) {
    if (plugin.name == key) return &plugin;
    names.push_back(plugin.name);
  }
  const std::string nearest = NearestWord(key, names);
  section.Refuse(key, "the server " + Quoted(server.name) + " has no plugin " + Quoted(key) + "; " +
                          (nearest.empty() ? "add it to plugins, or remove the section"
                                           : "did you mean " + Quoted(nearest) + "?"));
  return nullptr;
}

void ReadPluginSections(Section section, Problems& problems, ServerConfig& server) {
  for (const std::string& key : section.Keys()) {
    PluginSpec* const plugin = PluginOf(key, section, server);
    const toml::table* const table = plugin != nullptr ? section.Foreign(key) : nullptr;
    if (table == nullptr) continue;
    Flattener(section.NameOf(key), problems, plugin->values).Add(*table, "");
  }
  for (PluginSpec& plugin : server.plugins) {
    plugin.config = PluginConfig(section.NameOf(plugin.name), plugin.values);
  }
}

void ReadOffloads(Section section, ServerConfig& server) {
  constexpr int64_t kMostThreads = 10'000, kMostQueue = 1'000'000;
  for (const std::string& key : section.Keys()) {
    PluginSpec* const plugin = PluginOf(key, section, server);
    if (plugin == nullptr) continue;
    Section offload = section.Table(key);
    offload.Integer("threads", 1, kMostThreads, plugin->offload.threads);
    offload.Integer("queue", 0, kMostQueue, plugin->offload.queue);
    offload.Length("deadline", {.least = std::chrono::milliseconds(1)}, plugin->offload.deadline);
    offload.Close();
  }
}

}  // namespace

bool IsName(std::string_view text) {
  return !text.empty() &&
         text.find_first_not_of(
             "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-") == text.npos;
}

Result<PluginSpec*> AddPlugin(std::string_view entry, bool by_name, const ConfigContext& context,
                              ServerConfig& server) {
  namespace fs = std::filesystem;
  const auto bad = [](const std::string& why) { return Fail(Code::kInvalidArgument, why); };
  const fs::path path(entry);
  const bool named = by_name && entry.find('/') == entry.npos;
  const std::string name = named ? std::string(entry) : path.stem().string();
  if (entry.empty()) return bad("an entry is empty; write a plugin's name, or the path of a file");
  if (named && entry.ends_with(".so")) {
    return bad(Quoted(entry) + " is a file; write the name, " + Quoted(path.stem().string()) +
               ", or a path, " + Quoted("./" + std::string(entry)));
  }
  if (name.empty()) return bad(Quoted(entry) + " is a directory; write the path of a file in it");
  if (!IsName(name)) {
    return bad(Quoted(name) + " cannot be a plugin's name: " + kNameRule + "; rename the file");
  }
  for (const PluginSpec& other : server.plugins) {
    if (other.name != name) continue;
    return bad("the plugin " + Quoted(name) +
               " is named twice; a server has one instance of a plugin, remove one");
  }
  const fs::path file =
      named ? fs::path(context.plugin_dir) / (name + ".so") : context.directory / path;
  PluginSpec plugin;
  plugin.name = name;
  plugin.path = file.lexically_normal();
  // It goes to the host and into messages.
  if (!IsSafeText(plugin.path)) {
    return bad(Quoted(plugin.path) +
               " has a character that is not valid text; rename the directory or the file");
  }
  plugin.config = PluginConfig("server." + KeyText(server.name) + ".config." + KeyText(name), {});
  return &server.plugins.emplace_back(std::move(plugin));
}

ServerSection ReadServer(Section section, const std::string& name, const ConfigContext& context,
                         Problems& problems) {
  ServerSection read;
  ServerConfig& server = read.server;
  server.name = name;
  server.location = section.location();
  if (!IsName(name)) {
    problems.Add(server.location, section.path() + ": " + kNameRule + "; rename the server");
  }
  ReadListen(section, context, problems, read);
  section.Text("process", server.process);
  if (!IsName(server.process)) {
    section.Refuse("process", Quoted(server.process) + " cannot be a process's name: " + kNameRule +
                                  "; rename it");
  }
  ReadPlugins(section, context, problems, server);
  section.Boolean("reflection", server.reflection);
  ReadLimits(section.Table("limits"), server.limits);
  ReadStalls(section, server.stalls);
  ReadPluginSections(section.Table("config"), problems, server);
  ReadOffloads(section.Table("offload"), server);
  ReadTls(section, context, problems, server);
  section.Unsupported("pass", "remove it");
  section.Close();
  return read;
}

}  // namespace lastcall
