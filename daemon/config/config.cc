#include "daemon/config/config.h"

#include <algorithm>
#include <filesystem>
#include <set>
#include <utility>

#include <lastcall/base/runtime_dir.h>
#include <lastcall/base/safe_text.h>
#include <lastcall/base/spelling.h>

#include "daemon/config/files.h"
#include "daemon/config/problems.h"
#include "daemon/config/section.h"
#include "daemon/config/server_section.h"

namespace lastcall {
namespace {

namespace fs = std::filesystem;

// Of every value of `table`, by its name; `prefix` ends with a dot, or is empty.
void AddOrigins(const toml::table& table, const std::string& prefix,
                std::map<std::string, SourceLocation>& origins) {
  for (auto&& [key, node] : table) {
    const std::string name = prefix + KeyText(key.str());
    if (const toml::table* inner = node.as_table()) {
      AddOrigins(*inner, name + ".", origins);
    } else {
      origins[name] = LocationOf(node.source());
    }
  }
}

class ConfigLoader {
 public:
  ConfigLoader(const ConfigFiles& files, Config& config)
      : problems_(files.files),
        root_(files.root, "", problems_),
        processes_(root_.Table("process")),
        directory_(files.directory),
        config_(config) {}

  std::vector<ConfigProblem> Run() {
    ReadPath(root_, "plugin_dir", config_.plugin_dir);
    ReadPath(root_, "state_dir", config_.state_dir);
    ReadShutdown(root_.Table("shutdown"));
    ReadReload(root_.Table("reload"));
    ReadAdmin(root_.Table("admin"));
    ReadLog(root_.Table("log"));
    ReadServers(root_.Table("server"));
    CheckAddresses();
    ReadProcesses();
    root_.Close();
    return problems_.Sorted();
  }

 private:
  void ReadPath(Section& section, std::string_view key, std::string& path) {
    section.Text(key, path);
    path = (fs::path(directory_) / path).lexically_normal();
    if (path.size() > 1 && path.ends_with('/')) path.pop_back();
  }
  void ReadShutdown(Section section);
  void ReadReload(Section section);
  void ReadAdmin(Section section);
  void ReadGroups(Section& section, std::string_view key, std::vector<std::string>& groups);
  void ReadLog(Section section);
  void ReadServers(Section section);
  void CheckAddresses();
  void ReadProcesses();
  ProcessConfig ReadProcess(Section section, const std::string& name);

  Problems problems_;
  Section root_;
  Section processes_;
  const std::string directory_;  // of relative paths
  Config& config_;
  SourceLocation admin_location_;
  std::vector<ServerSection> servers_;
};

void ConfigLoader::ReadShutdown(Section section) {
  section.Length("delay", {}, config_.shutdown.delay);
  section.Length("grace", {.infinity = true}, config_.shutdown.grace);
  section.Length("cancel", {}, config_.shutdown.cancel);
  // Zero would end every delay at once: then it is better not to configure one.
  Duration quiet = Duration::zero();
  section.Length("quiet", {.least = std::chrono::milliseconds(1)}, quiet);
  if (quiet > Duration::zero()) config_.quiet = quiet;
  section.Close();
}

void ConfigLoader::ReadReload(Section section) {
  constexpr int64_t kMostRetired = 100;
  section.Length("ready", {.least = std::chrono::milliseconds(1)}, config_.ready);
  section.Length("settle", {}, config_.settle);
  section.Length("grace", {.infinity = true}, config_.reload_grace);
  section.Integer("keep", 1, kMostRetired, config_.keep);
  section.Close();
}

void ConfigLoader::ReadAdmin(Section section) {
  ReadPath(section, "socket", config_.admin_socket);
  admin_location_ = section.LocationOfValue("socket");
  if (config_.admin_socket.size() > kMaxUnixPath) {
    section.Refuse("socket", "the path has " + std::to_string(config_.admin_socket.size()) +
                                 " bytes, a socket's may have " + std::to_string(kMaxUnixPath) +
                                 "; choose a shorter one");
  }
  ReadGroups(section, "operators", config_.operators);
  ReadGroups(section, "observers", config_.observers);
  section.Close();
}

void ConfigLoader::ReadGroups(Section& section, std::string_view key,
                              std::vector<std::string>& groups) {
  const auto texts = section.Texts(key, "[\"adm\"]");
  if (!texts) return;
  groups.clear();
  for (const LocatedText& group : *texts) {
    if (group.text.empty() || !IsSafeText(group.text)) {
      problems_.Add(group.location, section.NameOf(key) + ": " + Quoted(group.text) +
                                        " is not a group; write its name, or remove it");
    }
    groups.push_back(group.text);
  }
}

void ConfigLoader::ReadLog(Section section) {
  static const std::vector<std::pair<std::string, std::string>> kLevels = {{"trace", "trace"},
                                                                           {"debug", "debug"},
                                                                           {"info", "info"},
                                                                           {"warning", "warning"},
                                                                           {"error", "error"}};
  section.Choice("level", kLevels, config_.log_level);
  section.Close();
}

void ConfigLoader::ReadServers(Section section) {
  ConfigContext context{directory_, config_.plugin_dir, {}};
  for (const std::string& name : processes_.Keys()) {
    if (processes_.Has(name, "command")) context.programs.insert(name);
  }
  for (const std::string& name : section.Keys()) {
    if (section.Foreign(name) == nullptr) continue;
    servers_.push_back(ReadServer(section.Table(name), name, context, problems_));
    config_.servers.push_back(servers_.back().server);
  }
  // Also because a reload that lost its drop-ins must not end every server.
  if (section.Keys().empty()) {
    problems_.Add({config_.file},
                  "no server is configured; add a section [server.NAME] with "
                  "listen and plugins, here or in a drop-in");
  }
}

void ConfigLoader::CheckAddresses() {
  struct Taken {
    Address address;
    SourceLocation location;
    std::string by;
  };
  std::vector<Taken> all;
  Address admin;
  admin.kind = Address::Kind::kUnix;
  admin.path = config_.admin_socket;
  admin.text = admin.Canonical();
  all.push_back({admin, admin_location_, "admin.socket"});
  for (const ServerSection& each : servers_) {
    const std::string name = "server." + KeyText(each.server.name) + ".listen";
    for (size_t i = 0; i < each.server.listen.size(); ++i) {
      const Address& address = each.server.listen[i];
      const auto other = std::find_if(all.begin(), all.end(), [&](const Taken& taken) {
        return taken.address.Overlaps(address);
      });
      if (other != all.end()) {
        const std::string where = Format(other->location);
        problems_.Add(each.listen_locations[i],
                      name + ": " + Quoted(address.text) + " is taken by " + other->by + ", " +
                          Quoted(other->address.text) + (where.empty() ? "" : " at " + where) +
                          "; choose another address");
      }
      all.push_back({address, each.listen_locations[i], name});
    }
  }
}

void ConfigLoader::ReadProcesses() {
  std::vector<std::string> names;
  for (const ServerConfig& server : config_.servers) {
    const bool known = std::find(names.begin(), names.end(), server.process) != names.end();
    if (known) continue;
    names.push_back(server.process);
    config_.processes.push_back(ReadProcess(processes_.Table(server.process), server.process));
  }
  for (const std::string& name : processes_.Keys()) {
    if (std::find(names.begin(), names.end(), name) != names.end()) continue;
    const std::string nearest = NearestWord(name, names);
    processes_.Refuse(name, "no server names this process; write process = " + Quoted(name) +
                                " in a server, or remove the section" +
                                (nearest.empty() ? "" : "; did you mean " + Quoted(nearest) + "?"));
  }
}

ProcessConfig ConfigLoader::ReadProcess(Section section, const std::string& name) {
  constexpr int64_t kMostReplicas = 1000;
  static const std::vector<std::pair<std::string, RestartPolicy>> kPolicies = {
      {"always", RestartPolicy::kAlways},
      {"on-failure", RestartPolicy::kOnFailure},
      {"never", RestartPolicy::kStayDown}};
  ProcessConfig process;
  process.name = name;
  process.location = section.location();
  section.Choice("restart", kPolicies, process.restart);
  static const std::vector<std::pair<std::string, FrozenPolicy>> kFrozen = {
      {"report", FrozenPolicy::kReport}, {"replace", FrozenPolicy::kReplace}};
  section.Choice("frozen", kFrozen, process.frozen);
  section.Length("frozen_after", {.least = std::chrono::seconds(1)}, process.frozen_after);
  uint32_t replicas = 1;
  section.Integer("replicas", 1, kMostReplicas, replicas);
  if (replicas != 1) {
    section.Refuse("replicas", std::to_string(replicas) +
                                   " replicas are not supported by this version; write 1");
  }
  section.Unsupported("command", "give the server plugins, and remove the command");
  for (const std::string_view key : {"after", "requires", "user", "environment", "rlimits"}) {
    section.Unsupported(key, "remove it");
  }
  section.Close();
  return process;
}

Checked<Config> ConfigOf(const Checked<ConfigFiles>& files) {
  if (!files) return tl::unexpected(files.error());
  Config config;
  config.file = files->files.front();
  config.files = files->files;
  config.from_pipe = files->pipe;
  AddOrigins(files->root, "", config.origins);
  auto problems = ConfigLoader(*files, config).Run();
  if (!problems.empty()) return tl::unexpected(std::move(problems));
  return config;
}

}  // namespace

Checked<Config> LoadConfig(const std::string& file) { return ConfigOf(ReadConfigFiles(file)); }

Checked<Config> LoadConfigFromPipe(int fd, const std::string& name) {
  return ConfigOf(ReadConfigPipe(fd, name));
}

Checked<Config> ConfigFromText(const std::string& toml, const std::string& name) {
  return ConfigOf(ParseConfigText(toml, name));
}

Checked<Config> DevelopmentConfig(const std::vector<std::string>& plugins,
                                  const std::vector<std::string>& listen,
                                  const std::string& runtime_dir) {
  std::error_code error;
  const ConfigContext context{
      .directory = fs::current_path(error), .plugin_dir = {}, .programs = {}};
  const fs::path runtime = fs::path(context.directory) / runtime_dir;
  Problems problems;
  Config config;
  config.admin_socket = (runtime / kAdminSocketName).lexically_normal();
  config.state_dir = (runtime / "state").lexically_normal();
  config.operators.clear();
  config.observers.clear();
  for (const char* key : {"state_dir", "admin.socket", "admin.operators", "admin.observers",
                          "server.dev.plugins", "server.dev.reflection"}) {
    config.origins[key] = {};  // that is what --plugin means
  }
  if (!listen.empty()) config.origins["server.dev.listen"] = {};
  ServerConfig server;
  server.name = "dev";
  server.reflection = true;
  for (const std::string& path : plugins) {
    const auto added = AddPlugin(path, false, context, server);
    if (!added) problems.Add({}, "--plugin: " + added.error().message);
  }
  for (const std::string& text : listen) {
    auto address = Address::Parse(text, context.directory);
    if (!address) problems.Add({}, "--listen: " + address.error().message);
    if (address) server.listen.push_back(std::move(*address));
  }
  if (listen.empty()) server.listen.push_back(*Address::Parse("127.0.0.1:50051"));
  config.processes.push_back({.name = server.process});
  config.servers.push_back(std::move(server));
  if (!problems.empty()) return tl::unexpected(problems.Sorted());
  return config;
}

}  // namespace lastcall
