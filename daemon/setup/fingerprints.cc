#include "daemon/setup/fingerprints.h"

#include <openssl/evp.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <iterator>
#include <string_view>
#include <utility>
#include <variant>

#include <lastcall/base/json.h>
#include <lastcall/base/regular_file.h>

namespace lastcall {
namespace {

// No plugin or program is larger: see ReadManifest.
constexpr size_t kMostProgram = size_t{1} << 30;

class Sha256 {
 public:
  Sha256() : context_(EVP_MD_CTX_new()) { EVP_DigestInit_ex(context_, EVP_sha256(), nullptr); }
  ~Sha256() { EVP_MD_CTX_free(context_); }
  Sha256(const Sha256&) = delete;
  Sha256& operator=(const Sha256&) = delete;

  void Add(std::string_view bytes) { EVP_DigestUpdate(context_, bytes.data(), bytes.size()); }
  std::string Finish() {
    std::string digest(EVP_MAX_MD_SIZE, '\0');
    unsigned size = 0;
    EVP_DigestFinal_ex(context_, reinterpret_cast<unsigned char*>(digest.data()), &size);
    digest.resize(size);
    return digest;
  }

 private:
  EVP_MD_CTX* const context_;
};

}  // namespace

std::string DigestOf(const std::string& path) {
  const auto file = OpenRegular(path);
  if (!file) return "missing";
  Sha256 digest;
  std::array<char, 1 << 16> block;
  // One that grows has an end all the same.
  for (size_t left = kMostProgram; left > 0;) {
    const ssize_t size = read(file->get(), block.data(), std::min(block.size(), left));
    if (size < 0 && errno == EINTR) continue;
    if (size < 0) return "missing";
    if (size == 0) break;
    digest.Add({block.data(), static_cast<size_t>(size)});
    left -= static_cast<size_t>(size);
  }
  return digest.Finish();
}

std::string DigestOfText(const std::string& text) {
  Sha256 digest;
  digest.Add(text);
  return digest.Finish();
}

namespace {

std::string TextOf(const ServerLimits& limits) {
  JsonWriter json;
  json.BeginArray();
  for (const double value : {double(limits.connections), double(limits.streams),
                             double(limits.message), double(limits.metadata), double(limits.memory),
                             double(limits.threads), ToSeconds(limits.keepalive),
                             ToSeconds(limits.keepalive_timeout), ToSeconds(limits.handshake)}) {
    json.Number(value);
  }
  return json.EndArray().text();
}

std::string TextOf(const StallLimits& stalls) {
  JsonWriter json;
  json.BeginArray().Number(ToSeconds(stalls.after));
  for (const auto& [name, method] : stalls.methods) {
    json.String(name).Number(ToSeconds(method.after));
  }
  return json.EndArray().text();
}

std::string TextOf(const PluginConfig::Value& value) {
  JsonWriter json;
  json.BeginArray().Integer(static_cast<int64_t>(value.value.index()));
  std::visit(
      [&](const auto& one) {
        using T = std::decay_t<decltype(one)>;
        if constexpr (std::is_same_v<T, std::string>) json.String(one);
        if constexpr (std::is_same_v<T, int64_t>) json.Integer(one);
        if constexpr (std::is_same_v<T, double>) json.Number(one);
        if constexpr (std::is_same_v<T, bool>) json.Boolean(one);
        if constexpr (std::is_same_v<T, PluginConfig::StringList>) {
          for (const std::string& text : one) json.String(text);
        }
      },
      value.value);
  return json.EndArray().text();
}

std::string TextOf(const OffloadLimits& limits) {
  JsonWriter json;
  json.BeginArray().Integer(limits.threads).Integer(limits.queue);
  return json.Integer(limits.deadline.count()).EndArray().text();
}

std::string TextOf(const PluginSpec& plugin) {
  std::string text;
  for (const auto& [key, value] : plugin.values) text += key + "=" + TextOf(value) + "\n";
  return text;
}

void AddParts(const ServerConfig& server, std::map<std::string, std::string>& digests,
              Fingerprint& parts) {
  const std::string of = " of server " + server.name;
  std::string listen, plugins;
  for (const Address& address : server.listen) listen += address.text + "\n";
  for (const PluginSpec& plugin : server.plugins) {
    plugins += plugin.name + "\n";
    const auto [digest, unknown] = digests.try_emplace(plugin.path);
    if (unknown) digest->second = DigestOf(plugin.path);
    parts["plugin " + plugin.name] += plugin.path + "\n" + digest->second;
    parts["configuration of plugin " + plugin.name + of] = TextOf(plugin);
    parts["offload of plugin " + plugin.name + of] = TextOf(plugin.offload);
  }
  parts["server " + server.name] = "";
  parts["listen" + of] = listen;
  parts["plugins" + of] = plugins;
  parts["limits" + of] = TextOf(server.limits);
  parts["stall_after" + of] = TextOf(server.stalls);
  if (server.tls_pem) {
    const TlsMaterial& tls = *server.tls_pem;
    parts["certificate" + of] = tls.certificate + tls.key;
    parts["client_ca" + of] = tls.client_ca;
  }
  parts["reflection" + of] = server.reflection ? "on" : "off";
}

// The names of the parts that differ: "+server b, ~plugin echo".
std::string Differences(const Fingerprint& before, const Fingerprint& after) {
  std::string differences;
  const auto add = [&](char sign, const std::string& name) {
    differences += differences.empty() ? "" : ", ";
    differences += sign;
    differences += name;
  };
  auto was = before.begin();
  auto is = after.begin();
  while (was != before.end() || is != after.end()) {
    if (is == after.end() || (was != before.end() && was->first < is->first)) {
      add('-', (was++)->first);
    } else if (was == before.end() || is->first < was->first) {
      add('+', (is++)->first);
    } else {
      if (was->second != is->second) add('~', is->first);
      ++was;
      ++is;
    }
  }
  return differences;
}

// The settings that are written otherwise now; found when they are requested.
class SettingChanges {
 public:
  SettingChanges(const Config& before, const Config& after) : before_(before), after_(after) {}

  // Those whose names begin so.
  std::vector<ValueChange> Under(const std::string& prefix) {
    Find();
    std::vector<ValueChange> found;
    for (const ValueChange& change : all_) {
      if (change.setting.starts_with(prefix)) found.push_back(change);
    }
    return found;
  }

  // Those of the servers that this process has before and after.
  const std::vector<ValueChange>& OfServersOf(const std::string& process) {
    Find();
    return by_process_[process];
  }

 private:
  void Find() {
    if (std::exchange(known_, true)) return;
    const auto before = ValuesOf(before_), after = ValuesOf(after_);
    const auto add = [this](const std::string& setting, const std::string& was,
                            const std::string& is) {
      if (was != is) all_.push_back({setting, was, is});
    };
    for (const auto& [setting, was] : before) {
      const auto is = after.find(setting);
      add(setting, was, is == after.end() ? "" : is->second);
    }
    for (const auto& [setting, is] : after) {
      if (!before.contains(setting)) add(setting, "", is);
    }
    Sort();
  }

  // To whom each belongs: there may be thousands of servers.
  void Sort() {
    std::map<std::string, std::string> were, processes;
    for (const ServerConfig& server : before_.servers) were[server.name] = server.process;
    for (const ServerConfig& server : after_.servers) {
      const auto was = were.find(server.name);
      if (was == were.end() || was->second != server.process) continue;
      processes[ServerPrefix(server.name)] = server.process;
    }
    for (const ValueChange& change : all_) {
      const auto behind = processes.upper_bound(change.setting);
      if (behind == processes.begin()) continue;
      const auto& [prefix, process] = *std::prev(behind);
      if (change.setting.starts_with(prefix)) by_process_[process].push_back(change);
    }
  }

  const Config& before_;
  const Config& after_;
  bool known_ = false;
  std::vector<ValueChange> all_;
  std::map<std::string, std::vector<ValueChange>> by_process_;
};

// Of the processes that are in both.
template <class Policy>
bool SamePolicies(const Config& before, const Config& after, Policy ProcessConfig::*policy) {
  std::map<std::string, Policy> was;
  for (const ProcessConfig& process : before.processes) was[process.name] = process.*policy;
  return std::all_of(after.processes.begin(), after.processes.end(), [&](const auto& process) {
    const auto found = was.find(process.name);
    return found == was.end() || found->second == process.*policy;
  });
}

}  // namespace

Fingerprints FingerprintsOf(const Config& config, const std::string& host_program) {
  Fingerprints fingerprints;
  std::map<std::string, std::string> digests;
  for (const ServerConfig& server : config.servers) {
    AddParts(server, digests, fingerprints[server.process]);
  }
  for (const ProcessConfig& process : config.processes) {
    fingerprints[process.name]["frozen_after"] = FormatDuration(process.frozen_after);
  }
  for (auto& [process, parts] : fingerprints) {
    const auto [digest, unknown] = digests.try_emplace(host_program);
    if (unknown) digest->second = DigestOf(host_program);
    parts["lastcall-host"] = digest->second;
    parts["shutdown.quiet"] = config.quiet ? FormatDuration(*config.quiet) : "";
  }
  return fingerprints;
}

Changes Compare(const Config& before, const Fingerprints& fingerprints_before, const Config& after,
                const Fingerprints& fingerprints_after) {
  Changes changes;
  SettingChanges settings(before, after);
  for (const auto& [process, parts] : fingerprints_after) {
    const auto was = fingerprints_before.find(process);
    if (was == fingerprints_before.end()) {
      changes.list.push_back({'+', "process " + process, ""});
      changes.added.push_back(process);
      continue;
    }
    const std::string differences = Differences(was->second, parts);
    changes.list.push_back({differences.empty() ? '=' : '~', "process " + process, differences});
    if (differences.empty()) continue;
    changes.replaced.push_back(process);
    auto& values = changes.list.back().values;
    values = settings.OfServersOf(process);
    // Hosts are told it at their start.
    for (const std::string& setting :
         {std::string("shutdown.quiet"), ProcessPrefix(process) + "frozen_after"}) {
      for (ValueChange& value : settings.Under(setting)) values.push_back(std::move(value));
    }
  }
  for (const auto& [process, parts] : fingerprints_before) {
    if (fingerprints_after.contains(process)) continue;
    changes.list.push_back({'-', "process " + process, ""});
    changes.removed.push_back(process);
  }
  const auto daemon = [&](bool same, const std::string& what, const std::string& prefix) {
    if (!same) changes.list.push_back({'~', what, "", settings.Under(prefix)});
  };
  daemon(before.shutdown == after.shutdown, "shutdown", "shutdown.");
  daemon(before.ready == after.ready && before.settle == after.settle &&
             before.reload_grace == after.reload_grace && before.keep == after.keep,
         "reload", "reload.");
  daemon(before.log_level == after.log_level, "log", "log.");
  daemon(before.operators == after.operators && before.observers == after.observers, "admin",
         "admin.");
  daemon(before.state_dir == after.state_dir, "state_dir", "state_dir");
  daemon(SamePolicies(before, after, &ProcessConfig::restart) &&
             SamePolicies(before, after, &ProcessConfig::frozen),
         "policies of processes", "process.");
  return changes;
}

std::vector<ConfigProblem> NeedsRestart(const Config& before, const Config& after) {
  if (before.admin_socket == after.admin_socket) return {};
  return {{{after.file, 0, 0},
           "admin.socket: it is " + before.admin_socket + " while this daemon runs, and would be " +
               after.admin_socket + "; change it back, or restart the daemon"}};
}

}  // namespace lastcall
