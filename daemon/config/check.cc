#include "daemon/config/check.h"

#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <utility>

#include "daemon/config/problems.h"

#include <lastcall/base/secret.h>
#include <lastcall/base/spelling.h>
#include <lastcall/base/trust.h>
#include <lastcall/plugin/manifest.h>

namespace lastcall {
namespace {

using Named = std::vector<std::pair<std::string, Manifest>>;

// What to do about a plugin that is not there: its directory says what was meant.
std::string MissingHint(const std::string& path) {
  namespace fs = std::filesystem;
  std::vector<std::string> there;
  std::error_code error;
  for (fs::directory_iterator entry(fs::path(path).parent_path(), error), end;
       !error && entry != end; entry.increment(error)) {
    if (entry->path().extension() == ".so") there.push_back(entry->path().stem());
  }
  std::sort(there.begin(), there.end());
  if (there.empty()) return "; its directory has no plugins, install them there or name another";
  return "; " + SpellingHint(fs::path(path).stem().string(), there);
}

void CheckOne(const ServerConfig& server, const PluginSpec& plugin, Named& fitting,
              std::vector<ConfigProblem>& problems) {
  const std::string what = "server \"" + server.name + "\", plugin \"" + plugin.name + "\": ";
  const auto manifest = ReadManifest(plugin.path);
  if (!manifest) {
    const bool missing = manifest.error().code == Code::kNotFound;
    problems.push_back({plugin.location, what + manifest.error().message +
                                             (missing ? MissingHint(plugin.path) : "")});
    return;
  }
  const auto mismatches = Mismatches(*manifest, HostManifest());
  for (const std::string& mismatch : mismatches) {
    problems.push_back({plugin.location, what + plugin.path + " was " + mismatch});
  }
  if (mismatches.empty()) fitting.emplace_back(plugin.name, *manifest);
}

std::string DateWarning(const ServerConfig& server, WallTime now) {
  if (!IsExpired(*server.tls_pem, now)) return "";
  const bool early = now < server.tls_pem->begins;
  return "server \"" + server.name + "\": its certificate " + server.tls->certificate +
         (early ? " is not valid before " + FormatWallTime(server.tls_pem->begins)
                : " expired at " + FormatWallTime(server.tls_pem->expires)) +
         "; it is served all the same, renew it and reload";
}

std::string KeyWarning(const Config& config, const ServerConfig& server) {
  const auto readers = FindReaders(server.tls->key);
  if (!readers) return "";
  const auto origin = config.origins.find("server." + server.name + ".tls.key");
  return Format(origin == config.origins.end() ? server.tls_location : origin->second) +
         ": server \"" + server.name + "\": its key " + readers->path + " " + readers->what +
         "; it is served all the same: " + DescribeRemedy(*readers) +
         ", and renew it if it may have been read";
}

}  // namespace

std::vector<ConfigProblem> CheckPlugins(const Config& config) {
  std::vector<ConfigProblem> problems;
  std::map<std::string, Named> by_process;
  for (const ServerConfig& server : config.servers) {
    for (const PluginSpec& plugin : server.plugins) {
      CheckOne(server, plugin, by_process[server.process], problems);
    }
  }
  for (const ProcessConfig& process : config.processes) {
    for (const std::string& clash : Clashes(by_process[process.name])) {
      problems.push_back({process.location, "process \"" + process.name + "\": " + clash});
    }
  }
  return problems;
}

std::vector<ConfigProblem> ReadCertificates(Config& config) {
  const Trust trust = Trust::OfThisProcess();
  std::vector<ConfigProblem> problems;
  for (ServerConfig& server : config.servers) {
    if (!server.tls) continue;
    auto loaded = LoadTls(*server.tls, &trust);
    if (loaded) {
      server.tls_pem = std::move(*loaded);
    } else {
      problems.push_back(
          {server.tls_location, "server \"" + server.name + "\", tls: " + loaded.error().message});
    }
  }
  return problems;
}

std::vector<std::string> TlsWarnings(const Config& config, WallTime now) {
  std::vector<std::string> warnings;
  for (const ServerConfig& server : config.servers) {
    if (!server.tls || !server.tls_pem) continue;
    for (const std::string& one : {DateWarning(server, now), KeyWarning(config, server)}) {
      if (!one.empty()) warnings.push_back(one);
    }
  }
  return warnings;
}

std::string Summary(const Config& config) {
  std::string text;
  for (const ServerConfig& server : config.servers) {
    text += "server " + server.name + " in process " + server.process + ":";
    for (const Address& address : server.listen) text += " " + address.text;
    text += ", plugins";
    for (const PluginSpec& plugin : server.plugins) text += " " + plugin.name;
    if (server.tls_pem) {
      text += ", TLS until " + FormatWallTime(server.tls_pem->expires) +
              (server.tls_pem->client_ca.empty() ? "" : ", clients by certificate");
    }
    text += "\n";
  }
  const Duration total = config.shutdown.Total();
  text += "stopping takes " +
          (total == kForever ? std::string("as long as the calls do: grace has no end")
                             : FormatDuration(total) + " at most") +
          " (delay " + FormatDuration(config.shutdown.delay) + ", grace " +
          FormatDuration(config.shutdown.grace) + ", cancel " +
          FormatDuration(config.shutdown.cancel) + ")\n";
  return text + "the configuration is good\n";
}

}  // namespace lastcall
