#include "daemon/plugin_message.h"

#include <map>
#include <utility>

namespace lastcall {
namespace {

using worker::v1::ConfigValue;

ConfigValue ToMessage(const std::string& key, const PluginConfig::Value& value) {
  ConfigValue message;
  message.set_key(key);
  message.set_file(value.file);
  message.set_line(value.line);
  if (const auto* text = std::get_if<std::string>(&value.value)) message.set_text(*text);
  if (const auto* integer = std::get_if<int64_t>(&value.value)) message.set_integer(*integer);
  if (const auto* number = std::get_if<double>(&value.value)) message.set_number(*number);
  if (const auto* boolean = std::get_if<bool>(&value.value)) message.set_boolean(*boolean);
  if (const auto* texts = std::get_if<PluginConfig::Texts>(&value.value)) {
    message.mutable_texts();
    for (const std::string& text : *texts) message.mutable_texts()->add_text(text);
  }
  return message;
}

PluginConfig::Value ToValue(const ConfigValue& message) {
  PluginConfig::Value value;
  value.file = message.file();
  value.line = message.line();
  switch (message.value_case()) {
    case ConfigValue::kInteger: value.value = message.integer(); break;
    case ConfigValue::kNumber: value.value = message.number(); break;
    case ConfigValue::kBoolean: value.value = message.boolean(); break;
    case ConfigValue::kTexts:
      value.value =
          PluginConfig::Texts(message.texts().text().begin(), message.texts().text().end());
      break;
    default: value.value = message.text(); break;
  }
  return value;
}

}  // namespace

worker::v1::PluginSpec ToMessage(const PluginSpec& plugin) {
  worker::v1::PluginSpec message;
  message.set_name(plugin.name);
  message.set_path(plugin.path);
  for (const auto& [key, value] : plugin.values) *message.add_config() = ToMessage(key, value);
  return message;
}

PluginConfig ConfigOf(const std::string& server, const worker::v1::PluginSpec& plugin) {
  std::map<std::string, PluginConfig::Value, std::less<>> values;
  for (const ConfigValue& value : plugin.config()) values[value.key()] = ToValue(value);
  return PluginConfig("server." + server + ".config." + plugin.name(), std::move(values));
}

}  // namespace lastcall
