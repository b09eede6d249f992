// The effective configuration as text: described once, written as TOML or as JSON.
#include <array>
#include <charconv>
#include <cmath>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <lastcall/base/json.h>

#include "daemon/config/config.h"
#include "daemon/config/problems.h"
#include "daemon/config/section.h"

namespace lastcall {
namespace {

// A table in the order in which it is written.
struct Node {
  using Scalar = decltype(PluginConfig::Value::value);
  using Table = std::vector<std::pair<std::string, Node>>;

  Node();

  template <class T>
  Node& Set(std::string key, T value) {
    children.emplace_back(std::move(key), Node()).second.scalar.emplace(std::move(value));
    return *this;
  }
  Node& Set(std::string key, uint32_t value) { return Set(std::move(key), int64_t{value}); }
  Node& Set(std::string key, Duration length);
  // The table `key`, made where it is not there yet.
  Node& Sub(const std::string& key) {
    for (auto& [name, child] : children) {
      if (name == key) return child;
    }
    return children.emplace_back(key, Node()).second;
  }

  std::optional<Scalar> scalar;  // empty: a table
  Table children;
};

// Here, where a pair with a Node is complete.
Node::Node() = default;

// FormatDuration rounds to three digits: where that loses something, the largest unit that does
// not.
std::string ExactDuration(Duration length) {
  const std::string text = FormatDuration(length);
  if (ParseDuration(text).value_or(Duration(-1)) == length) return text;
  const int64_t ns = length.count();
  if (ns % 1'000'000'000 == 0) return std::to_string(ns / 1'000'000'000) + "s";
  if (ns % 1'000'000 == 0) return std::to_string(ns / 1'000'000) + "ms";
  return std::to_string(ns) + "ns";
}

Node& Node::Set(std::string key, Duration length) {
  return Set(std::move(key), ExactDuration(length));
}

std::string_view RestartName(RestartPolicy policy) {
  switch (policy) {
    case RestartPolicy::kAlways: return "always";
    case RestartPolicy::kOnFailure: return "on-failure";
    case RestartPolicy::kStayDown: return "never";
  }
  return "";
}

// "upstream.host" goes into the table "upstream".
void SetDotted(std::string_view key, const Node::Scalar& value, Node& table) {
  const size_t dot = key.find('.');
  if (dot == key.npos) {
    table.Set(std::string(key), value);
  } else {
    SetDotted(key.substr(dot + 1), value, table.Sub(std::string(key.substr(0, dot))));
  }
}

void DescribePlugins(const ServerConfig& server, const std::string& plugin_dir, Node& node) {
  PluginConfig::StringList entries;
  for (const PluginSpec& plugin : server.plugins) {
    const bool by_name = plugin.path == plugin_dir + "/" + plugin.name + ".so";
    entries.push_back(by_name ? plugin.name : plugin.path);
  }
  node.Set("plugins", entries);
}

void DescribeServer(const ServerConfig& server, const std::string& plugin_dir, Node& node) {
  PluginConfig::StringList listen;
  for (const Address& address : server.listen) listen.push_back(address.Canonical());
  node.Set("listen", listen);
  DescribePlugins(server, plugin_dir, node);
  node.Set("process", server.process).Set("reflection", server.reflection);
  node.Set("stall_after", server.stalls.after);
  node.Sub("limits")
      .Set("connections", server.limits.connections)
      .Set("streams", server.limits.streams)
      .Set("message", static_cast<int64_t>(server.limits.message))
      .Set("metadata", static_cast<int64_t>(server.limits.metadata))
      .Set("memory", static_cast<int64_t>(server.limits.memory))
      .Set("threads", server.limits.threads)
      .Set("keepalive", server.limits.keepalive)
      .Set("keepalive_timeout", server.limits.keepalive_timeout)
      .Set("handshake", server.limits.handshake);
  for (const auto& [name, method] : server.stalls.methods) {
    Node& one = node.Sub("method").Sub(name);
    if (method.after == kForever) {
      one.Set("long_polling", true);
    } else {
      one.Set("stall_after", method.after);
    }
  }
  if (server.tls) {
    node.Sub("tls").Set("certificate", server.tls->certificate).Set("key", server.tls->key);
    if (!server.tls->client_ca.empty()) node.Sub("tls").Set("client_ca", server.tls->client_ca);
  }
  for (const PluginSpec& plugin : server.plugins) {
    node.Sub("offload")
        .Sub(plugin.name)
        .Set("threads", plugin.offload.threads)
        .Set("queue", plugin.offload.queue)
        .Set("deadline", plugin.offload.deadline);
    for (const auto& [key, value] : plugin.values) {
      SetDotted(key, value.value, node.Sub("config").Sub(plugin.name));
    }
  }
}

Node Describe(const Config& config) {
  Node root;
  root.Set("plugin_dir", config.plugin_dir).Set("state_dir", config.state_dir);
  Node& shutdown = root.Sub("shutdown");
  shutdown.Set("delay", config.shutdown.delay)
      .Set("grace", config.shutdown.grace)
      .Set("cancel", config.shutdown.cancel);
  if (config.quiet) shutdown.Set("quiet", *config.quiet);
  root.Sub("reload")
      .Set("ready", config.ready)
      .Set("settle", config.settle)
      .Set("grace", config.reload_grace)
      .Set("keep", config.keep);
  root.Sub("admin")
      .Set("socket", config.admin_socket)
      .Set("operators", config.operators)
      .Set("observers", config.observers);
  root.Sub("log").Set("level", config.log_level);
  for (const ServerConfig& server : config.servers) {
    DescribeServer(server, config.plugin_dir, root.Sub("server").Sub(server.name));
  }
  for (const ProcessConfig& process : config.processes) {
    root.Sub("process")
        .Sub(process.name)
        .Set("restart", std::string(RestartName(process.restart)))
        .Set("frozen", process.frozen == FrozenPolicy::kReplace ? std::string("replace")
                                                                : std::string("report"))
        .Set("frozen_after", process.frozen_after);
  }
  return root;
}

std::string NumberText(double number) {
  std::array<char, 32> buffer;
  const auto [end, error] = std::to_chars(buffer.data(), buffer.data() + buffer.size(), number);
  return std::string(buffer.data(), end);
}

// A string of TOML may be written as one of JSON: the escapes are the same.
std::string QuotedText(std::string_view text) { return JsonWriter().String(text).text(); }

std::string TomlScalar(const Node::Scalar& scalar) {
  if (const auto* text = std::get_if<std::string>(&scalar)) return QuotedText(*text);
  if (const auto* integer = std::get_if<int64_t>(&scalar)) return std::to_string(*integer);
  if (const auto* boolean = std::get_if<bool>(&scalar)) return *boolean ? "true" : "false";
  if (const auto* number = std::get_if<double>(&scalar)) {
    const std::string text = NumberText(*number);
    return text.find_first_not_of("-0123456789") == text.npos ? text + ".0" : text;
  }
  std::string list;
  for (const std::string& text : std::get<PluginConfig::StringList>(scalar)) {
    list += (list.empty() ? "" : ", ") + QuotedText(text);
  }
  return "[" + list + "]";
}

// What stands behind the value called `name`; may be null: nothing does.
using Note = std::function<std::string(const std::string& name)>;

void WriteToml(const Node& table, const std::string& path, const Note& note, std::string& out) {
  const std::string prefix = path.empty() ? "" : path + ".";
  bool headed = path.empty();
  for (const auto& [key, node] : table.children) {
    if (!node.scalar) continue;
    if (!std::exchange(headed, true)) out += "\n[" + path + "]\n";
    out += KeyText(key) + " = " + TomlScalar(*node.scalar);
    out += (note ? "  # " + note(prefix + KeyText(key)) : "") + "\n";
  }
  for (const auto& [key, node] : table.children) {
    if (!node.scalar) WriteToml(node, prefix + KeyText(key), note, out);
  }
}

Origin OriginOf(const Config& config, const std::string& key) {
  const auto found = config.origins.find(key);
  if (found == config.origins.end())
    return {.key = key, .kind = Origin::Kind::kDefault, .location = {}};
  const bool file = !found->second.file.empty();
  return {.key = key,
          .kind = file ? Origin::Kind::kFile : Origin::Kind::kCommandLine,
          .location = found->second};
}

// In the order of WriteToml.
void AddOrigins(const Config& config, const Node& table, const std::string& prefix,
                std::vector<Origin>& origins) {
  for (const auto& [key, node] : table.children) {
    if (node.scalar) origins.push_back(OriginOf(config, prefix + KeyText(key)));
  }
  for (const auto& [key, node] : table.children) {
    if (!node.scalar) AddOrigins(config, node, prefix + KeyText(key) + ".", origins);
  }
}

void AddValues(const Node& table, const std::string& prefix,
               std::map<std::string, std::string>& values) {
  for (const auto& [key, node] : table.children) {
    const std::string name = prefix + KeyText(key);
    if (node.scalar) {
      values[name] = TomlScalar(*node.scalar);
    } else {
      AddValues(node, name + ".", values);
    }
  }
}

void WriteJson(const Node::Scalar& scalar, JsonWriter& json) {
  if (const auto* texts = std::get_if<PluginConfig::StringList>(&scalar)) {
    json.BeginArray();
    for (const std::string& text : *texts) json.String(text);
    json.EndArray();
  } else if (const auto* number = std::get_if<double>(&scalar)) {
    json.Raw(std::isfinite(*number) ? NumberText(*number) : "null");
  } else {
    json.Raw(TomlScalar(scalar));
  }
}

void WriteJson(const Node& table, JsonWriter& json) {
  json.BeginObject();
  for (const auto& [key, node] : table.children) {
    json.Key(key);
    if (node.scalar) {
      WriteJson(*node.scalar, json);
    } else {
      WriteJson(node, json);
    }
  }
  json.EndObject();
}

}  // namespace

std::string ToToml(const Config& config) {
  std::string text;
  WriteToml(Describe(config), "", nullptr, text);
  return text;
}

std::string ToAnnotatedToml(const Config& config) {
  std::string text;
  const auto note = [&](const std::string& name) -> std::string {
    const Origin origin = OriginOf(config, name);
    if (origin.kind == Origin::Kind::kFile) return Format(origin.location);
    return origin.kind == Origin::Kind::kDefault ? "default" : "command line";
  };
  WriteToml(Describe(config), "", note, text);
  return text;
}

std::vector<Origin> OriginsOf(const Config& config) {
  std::vector<Origin> origins;
  AddOrigins(config, Describe(config), "", origins);
  return origins;
}

std::map<std::string, std::string> ValuesOf(const Config& config) {
  std::map<std::string, std::string> values;
  AddValues(Describe(config), "", values);
  return values;
}

std::string ServerPrefix(const std::string& server) { return "server." + KeyText(server) + "."; }

std::string ProcessPrefix(const std::string& process) {
  return "process." + KeyText(process) + ".";
}

std::string ToJson(const Config& config) {
  JsonWriter json;
  WriteJson(Describe(config), json);
  return json.text();
}

}  // namespace lastcall
