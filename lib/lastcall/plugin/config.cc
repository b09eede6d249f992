#include "lastcall/plugin/config.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>
#include <tuple>

#include "lastcall/base/spelling.h"

namespace lastcall {
namespace {

// By the order of PluginConfig::Value's alternatives.
constexpr std::array<std::string_view, 5> kTypes = {"a string", "an integer", "a number",
                                                    "a boolean", "an array of strings"};

std::string Front(const PluginConfig::Value& value) {
  return value.file.empty() ? "" : value.file + ":" + std::to_string(value.line) + ": ";
}

}  // namespace

PluginConfig::Asked& PluginConfig::Asked::operator=(const Asked& other) {
  auto keys = other.Keys();
  std::lock_guard lock(mutex_);
  keys_ = std::move(keys);
  return *this;
}

void PluginConfig::Asked::Add(std::string_view key) {
  std::lock_guard lock(mutex_);
  keys_.emplace(key);
}

std::set<std::string, std::less<>> PluginConfig::Asked::Keys() const {
  std::lock_guard lock(mutex_);
  return keys_;
}

const PluginConfig::Value* PluginConfig::Find(std::string_view key) const {
  asked_.Add(key);
  const auto found = values_.find(key);
  return found == values_.end() ? nullptr : &found->second;
}

template <class T>
const T* PluginConfig::Get(std::string_view key, std::string_view expected) const {
  const Value* value = Find(key);
  if (value == nullptr) return nullptr;
  if (const T* typed = std::get_if<T>(&value->value)) return typed;
  throw Unsuitable(key, *value, expected);
}

ConfigError PluginConfig::Unsuitable(std::string_view key, const Value& value,
                                     std::string_view expected) const {
  return ConfigError(Front(value) + section_ + "." + std::string(key) + ": expected " +
                     std::string(expected) + ", found " + std::string(kTypes[value.value.index()]));
}

ConfigError PluginConfig::Missing(std::string_view key, std::string_view example) const {
  return ConfigError(section_ + "." + std::string(key) + " is missing; write for example " +
                     std::string(key) + " = " + std::string(example));
}

std::string PluginConfig::String(std::string_view key) const {
  if (const auto* text = Get<std::string>(key, "a string")) return *text;
  throw Missing(key, "\"…\"");
}

std::string PluginConfig::String(std::string_view key, std::string otherwise) const {
  if (const auto* text = Get<std::string>(key, "a string")) return *text;
  return otherwise;
}

int64_t PluginConfig::Integer(std::string_view key) const {
  if (const auto* integer = Get<int64_t>(key, "an integer")) return *integer;
  throw Missing(key, "1");
}

int64_t PluginConfig::Integer(std::string_view key, int64_t otherwise) const {
  const auto* integer = Get<int64_t>(key, "an integer");
  return integer != nullptr ? *integer : otherwise;
}

double PluginConfig::Number(std::string_view key) const {
  if (!Has(key)) {
    asked_.Add(key);
    throw Missing(key, "1.5");
  }
  return Number(key, 0);
}

double PluginConfig::Number(std::string_view key, double otherwise) const {
  const Value* value = Find(key);
  if (value == nullptr) return otherwise;
  if (const auto* integer = std::get_if<int64_t>(&value->value))
    return static_cast<double>(*integer);
  if (const auto* number = std::get_if<double>(&value->value)) {
    if (std::isnan(*number)) throw Refuse(key, "must be a number, not nan");
    return *number;
  }
  throw Unsuitable(key, *value, "a number");
}

bool PluginConfig::Boolean(std::string_view key, bool otherwise) const {
  const auto* boolean = Get<bool>(key, "true or false");
  return boolean != nullptr ? *boolean : otherwise;
}

lastcall::Duration PluginConfig::Duration(std::string_view key) const {
  if (!Has(key)) {
    asked_.Add(key);
    throw Missing(key, "\"5s\"");
  }
  return Duration(key, lastcall::Duration::zero());
}

lastcall::Duration PluginConfig::Duration(std::string_view key,
                                          lastcall::Duration otherwise) const {
  const auto* text = Get<std::string>(key, "a duration like \"250ms\"");
  if (text == nullptr) return otherwise;
  const auto length = ParseDuration(*text);
  if (!length) throw Refuse(key, length.error().message);
  return *length;
}

PluginConfig::StringList PluginConfig::Strings(std::string_view key) const {
  const auto* texts = Get<StringList>(key, "an array of strings");
  return texts != nullptr ? *texts : StringList();
}

bool PluginConfig::Has(std::string_view key) const { return values_.find(key) != values_.end(); }

ConfigError PluginConfig::Refuse(std::string_view key, std::string_view why) const {
  const auto found = values_.find(key);
  return ConfigError((found == values_.end() ? "" : Front(found->second)) + section_ + "." +
                     std::string(key) + ": " + std::string(why));
}

std::vector<std::string> PluginConfig::Unread() const {
  return NotAmong(asked_.Keys(), "unknown key ", "");
}

std::vector<std::string> PluginConfig::Unchecked() const {
  const Keys asked = asked_.Keys();
  if (asked.empty()) return {};
  return NotAmong(asked, "",
                  " is not read by the plugin's Check, and is refused at a start if its "
                  "constructor does not read it either");
}

// In the order of the file.
std::vector<std::string> PluginConfig::NotAmong(const Keys& asked, const std::string& before,
                                                const std::string& after) const {
  const std::vector<std::string> known(asked.begin(), asked.end());
  std::vector<std::tuple<std::string, uint32_t, std::string>> sorted;
  for (const auto& [key, value] : values_) {
    if (asked.contains(key)) continue;
    const std::string hint = known.empty() ? "the plugin reads none" : SpellingHint(key, known);
    sorted.emplace_back(value.file, value.line,
                        Front(value) + before + section_ + "." + key + after + "; " + hint);
  }
  std::sort(sorted.begin(), sorted.end());
  std::vector<std::string> messages;
  for (auto& [file, line, message] : sorted) messages.push_back(std::move(message));
  return messages;
}

}  // namespace lastcall
