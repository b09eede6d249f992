#include "wire/configuration_message.h"

#include <map>
#include <utility>

namespace lastcall {
namespace {

using host::v1::ConfigValue;

ConfigValue ToProto(const std::string& key, const PluginConfig::Value& value) {
  ConfigValue message;
  message.set_key(key);
  message.set_file(value.file);
  message.set_line(value.line);
  if (const auto* text = std::get_if<std::string>(&value.value)) message.set_text(*text);
  if (const auto* integer = std::get_if<int64_t>(&value.value)) message.set_integer(*integer);
  if (const auto* number = std::get_if<double>(&value.value)) message.set_number(*number);
  if (const auto* boolean = std::get_if<bool>(&value.value)) message.set_boolean(*boolean);
  if (const auto* texts = std::get_if<PluginConfig::StringList>(&value.value)) {
    message.mutable_texts();
    for (const std::string& text : *texts) message.mutable_texts()->add_text(text);
  }
  return message;
}

PluginConfig::Value FromProto(const ConfigValue& message) {
  PluginConfig::Value value;
  value.file = message.file();
  value.line = message.line();
  switch (message.value_case()) {
    case ConfigValue::kInteger: value.value = message.integer(); break;
    case ConfigValue::kNumber: value.value = message.number(); break;
    case ConfigValue::kBoolean: value.value = message.boolean(); break;
    case ConfigValue::kTexts:
      value.value =
          PluginConfig::StringList(message.texts().text().begin(), message.texts().text().end());
      break;
    default: value.value = message.text(); break;
  }
  return value;
}

}  // namespace

host::v1::Limits ToProto(const ServerLimits& limits) {
  host::v1::Limits message;
  message.set_connections(limits.connections);
  message.set_streams(limits.streams);
  message.set_message(limits.message);
  message.set_metadata(limits.metadata);
  message.set_memory(limits.memory);
  message.set_threads(limits.threads);
  message.set_keepalive_s(ToSeconds(limits.keepalive));
  message.set_keepalive_timeout_s(ToSeconds(limits.keepalive_timeout));
  message.set_handshake_s(ToSeconds(limits.handshake));
  return message;
}

ServerLimits FromProto(const host::v1::Limits& message) {
  ServerLimits limits;
  limits.connections = message.connections();
  limits.streams = message.streams();
  limits.message = message.message();
  limits.metadata = message.metadata();
  limits.memory = message.memory();
  limits.threads = message.threads();
  limits.keepalive = FromSeconds(message.keepalive_s());
  limits.keepalive_timeout = FromSeconds(message.keepalive_timeout_s());
  limits.handshake = FromSeconds(message.handshake_s());
  return limits;
}

void Write(const StallLimits& stalls, host::v1::ServerSpec& message) {
  message.set_stall_after_s(ToSeconds(stalls.after));
  for (const auto& [name, method] : stalls.methods) {
    host::v1::MethodSpec& one = *message.add_methods();
    one.set_name(name);
    one.set_stall_after_s(ToSeconds(method.after));
    one.set_file(method.file);
    one.set_line(method.line);
  }
}

StallLimits StallsIn(const host::v1::ServerSpec& message) {
  StallLimits stalls{.after = FromSeconds(message.stall_after_s()), .methods = {}};
  for (const host::v1::MethodSpec& one : message.methods()) {
    stalls.methods[one.name()] = {FromSeconds(one.stall_after_s()), one.file(), one.line()};
  }
  return stalls;
}

host::v1::OffloadLimits ToProto(const OffloadLimits& limits) {
  host::v1::OffloadLimits message;
  message.set_threads(limits.threads);
  message.set_queue(limits.queue);
  message.set_deadline_s(ToSeconds(limits.deadline));
  return message;
}

OffloadLimits FromProto(const host::v1::OffloadLimits& message) {
  return {.threads = message.threads(),
          .queue = message.queue(),
          .deadline = FromSeconds(message.deadline_s())};
}

host::v1::PluginSpec PluginMessage(const std::string& name, const std::string& path,
                                   const PluginValues& values) {
  host::v1::PluginSpec message;
  message.set_name(name);
  message.set_path(path);
  for (const auto& [key, value] : values) *message.add_config() = ToProto(key, value);
  return message;
}

PluginConfig ConfigOf(const std::string& server, const host::v1::PluginSpec& plugin) {
  PluginValues values;
  for (const ConfigValue& value : plugin.config()) values[value.key()] = FromProto(value);
  return PluginConfig("server." + server + ".config." + plugin.name(), std::move(values));
}

}  // namespace lastcall
