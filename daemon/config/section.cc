#include "daemon/config/section.h"

#include <algorithm>
#include <array>
#include <charconv>

#include <lastcall/base/json.h>
#include <lastcall/base/safe_text.h>
#include <lastcall/base/spelling.h>

namespace lastcall {
namespace {

constexpr std::string_view kBareLetters =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-";

const toml::table kNothing;

std::string Assign(std::string_view key, const std::string& value) {
  return "write for example " + KeyText(key) + " = " + value;
}

struct ByteUnit {
  std::string_view name;
  uint64_t bytes;
};

constexpr std::array<ByteUnit, 4> kByteUnits{
    {{"B", 1}, {"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}}};

// "4MiB"; empty when it is none.
std::optional<uint64_t> ParseBytes(std::string_view text) {
  uint64_t count = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), count);
  if (error != std::errc()) return std::nullopt;
  text.remove_prefix(end - text.data());
  for (const ByteUnit& unit : kByteUnits) {
    if (text != unit.name) continue;
    uint64_t bytes = 0;
    return __builtin_mul_overflow(count, unit.bytes, &bytes) ? UINT64_MAX : bytes;
  }
  return std::nullopt;
}

bool Within(Duration length, std::string_view text, const LengthRange& range) {
  // "999999d" is kForever as well, and was not meant so.
  if (length == kForever) return range.infinity && text == "infinity";
  if (length == Duration::zero() && range.zero) return true;
  return length >= range.least && length <= range.most;
}

}  // namespace

SourceLocation LocationOf(const toml::source_region& source) {
  return {source.path != nullptr ? *source.path : "", source.begin.line};
}

std::string_view TypeName(const toml::node& node) {
  switch (node.type()) {
    case toml::node_type::table: return "a table";
    case toml::node_type::array: return "an array";
    case toml::node_type::string: return "a string";
    case toml::node_type::integer: return "an integer";
    case toml::node_type::floating_point: return "a number";
    case toml::node_type::boolean: return "a boolean";
    case toml::node_type::date: return "a date";
    case toml::node_type::time: return "a time";
    case toml::node_type::date_time: return "a date with time";
    case toml::node_type::none: break;
  }
  return "nothing";
}

std::string KeyText(std::string_view key) {
  const bool bare = !key.empty() && key.find_first_not_of(kBareLetters) == key.npos;
  return bare ? std::string(key) : JsonWriter().String(key).text();  // the escapes are the same
}

std::string Section::NameOf(std::string_view key) const {
  return (path_.empty() ? "" : path_ + ".") + KeyText(key);
}

SourceLocation Section::LocationOfValue(std::string_view key) const {
  const toml::node* node = table_.get(key);
  return node != nullptr ? LocationOf(node->source()) : location();
}

std::vector<std::string> Section::Keys() const {
  std::vector<std::pair<SourceLocation, std::string>> placed;
  for (auto&& [key, value] : table_) {
    placed.emplace_back(LocationOf(value.source()), std::string(key.str()));
  }
  std::stable_sort(placed.begin(), placed.end(), [this](const auto& a, const auto& b) {
    return problems_.Before(a.first, b.first);
  });
  std::vector<std::string> keys;
  for (auto& [location, key] : placed) keys.push_back(std::move(key));
  return keys;
}

bool Section::Has(std::string_view key, std::string_view inner) const {
  const toml::node* node = table_.get(key);
  return node != nullptr && node->is_table() && node->as_table()->contains(inner);
}

const toml::node* Section::Find(std::string_view key) {
  known_.emplace_back(key);
  return table_.get(key);
}

void Section::Refuse(std::string_view key, const std::string& why) {
  problems_.Add(LocationOfValue(key), NameOf(key) + ": " + why);
}

void Section::ExpectedBut(std::string_view key, std::string_view expected, const toml::node& found,
                          const std::string& remedy) {
  Refuse(key, "expected " + std::string(expected) + ", found " + std::string(TypeName(found)) +
                  "; " + remedy);
}

void Section::Boolean(std::string_view key, bool& out) {
  const toml::node* node = Find(key);
  if (node == nullptr) return;
  if (const auto* value = node->as_boolean()) {
    out = value->get();
  } else {
    ExpectedBut(key, "true or false", *node, Assign(key, out ? "true" : "false"));
  }
}

void Section::Integer(std::string_view key, int64_t least, int64_t most, uint32_t& out) {
  const toml::node* node = Find(key);
  if (node == nullptr) return;
  const auto* value = node->as_integer();
  if (value == nullptr) {
    ExpectedBut(key, "an integer", *node, Assign(key, std::to_string(out)));
  } else if (value->get() < least || value->get() > most) {
    Refuse(key, std::to_string(value->get()) + " is out of range; write an integer from " +
                    std::to_string(least) + " to " + std::to_string(most));
  } else {
    out = static_cast<uint32_t>(value->get());
  }
}

void Section::Bytes(std::string_view key, uint64_t most, uint64_t& out) {
  const toml::node* node = Find(key);
  if (node == nullptr) return;
  std::optional<uint64_t> bytes;
  std::string written;
  if (const auto* text = node->as_string()) {
    written = Quoted(text->get());
    bytes = ParseBytes(text->get());
    if (!bytes) {
      Refuse(key, written +
                      " is not a number of bytes; write an integer, or a string with one of B KiB "
                      "MiB GiB, for example \"4MiB\"");
      return;
    }
  } else if (const auto* integer = node->as_integer()) {
    written = std::to_string(integer->get());
    bytes = static_cast<uint64_t>(integer->get());  // a negative one is out of range then
  } else {
    ExpectedBut(key, "a number of bytes", *node, Assign(key, "\"4MiB\""));
    return;
  }
  if (*bytes > most) {
    Refuse(key,
           written + " is out of range; write a number of bytes from 0 to " + std::to_string(most));
  } else {
    out = *bytes;
  }
}

void Section::Length(std::string_view key, const LengthRange& range, Duration& out) {
  const toml::node* node = Find(key);
  if (node == nullptr) return;
  const auto* text = node->as_string();
  if (text == nullptr) {
    ExpectedBut(key, "a duration with a unit, in quotes", *node,
                "write for example " + KeyText(key) + " = \"5s\"");
    return;
  }
  const auto length = ParseDuration(text->get());
  if (!length) {
    Refuse(key, length.error().message);
  } else if (!Within(*length, text->get(), range)) {
    Refuse(key, Quoted(text->get()) + " is out of range; write a duration from " +
                    FormatDuration(range.least) + " to " + FormatDuration(range.most) +
                    (range.zero ? ", or \"0s\"" : "") +
                    (range.infinity ? ", or \"infinity\"" : ""));
  } else {
    out = *length;
  }
}

void Section::Text(std::string_view key, std::string& out) {
  const toml::node* node = Find(key);
  if (node == nullptr) return;
  const auto* text = node->as_string();
  if (text == nullptr) {
    ExpectedBut(key, "a string", *node, Assign(key, "\"…\""));
  } else if (text->get().empty()) {
    Refuse(key, "must not be empty; remove the key to have its default");
  } else if (!IsSafeText(text->get())) {
    Refuse(key, Quoted(text->get()) + " has a control character; remove it");
  } else {
    out = text->get();
  }
}

std::optional<size_t> Section::ChosenFrom(std::string_view key,
                                          const std::vector<std::string>& names) {
  std::string chosen;
  Text(key, chosen);
  if (chosen.empty()) return std::nullopt;
  const auto found = std::find(names.begin(), names.end(), chosen);
  if (found != names.end()) return found - names.begin();
  std::string listed;
  for (const std::string& name : names) {
    listed += (listed.empty() ? "" : name == names.back() ? " or " : ", ") + name;
  }
  const std::string nearest = NearestWord(chosen, names);
  Refuse(key, Quoted(chosen) + " is unknown; write " + listed +
                  (nearest.empty() ? "" : "; did you mean \"" + nearest + "\"?"));
  return std::nullopt;
}

std::optional<std::vector<LocatedText>> Section::Texts(std::string_view key,
                                                       std::string_view example,
                                                       std::string_view when_empty) {
  const toml::node* node = Find(key);
  const auto* array = node != nullptr ? node->as_array() : nullptr;
  const std::string remedy = Assign(key, std::string(example));
  if (node != nullptr && array == nullptr) {
    ExpectedBut(key, "an array of strings", *node, remedy);
    return std::nullopt;
  }
  if (!when_empty.empty() && (array == nullptr || array->empty())) {
    Refuse(key, std::string(when_empty) + "; " + remedy);
  }
  if (array == nullptr) return std::nullopt;
  std::vector<LocatedText> texts;
  for (const toml::node& entry : *array) {
    if (const auto* text = entry.as_string()) {
      texts.push_back({text->get(), LocationOf(entry.source())});
      continue;
    }
    problems_.Add(LocationOf(entry.source()),
                  NameOf(key) + ": expected an array of strings, found " +
                      std::string(TypeName(entry)) + " in it; " + remedy);
  }
  return texts;
}

const toml::table* Section::Foreign(std::string_view key) {
  const toml::node* node = Find(key);
  if (node == nullptr) return nullptr;
  const toml::table* table = node->as_table();
  if (table == nullptr) {
    ExpectedBut(key, "a table", *node, "write it as a section of its own, [" + NameOf(key) + "]");
  }
  return table;
}

Section Section::Table(std::string_view key) {
  const toml::table* table = Foreign(key);
  return Section(table != nullptr ? *table : kNothing, NameOf(key), problems_);
}

void Section::Unsupported(std::string_view key, std::string_view remedy) {
  if (Find(key) == nullptr) return;
  Refuse(key, "not supported by this version; " + std::string(remedy));
}

void Section::Close() {
  std::sort(known_.begin(), known_.end());
  for (auto&& [key, value] : table_) {
    const std::string name(key.str());
    if (std::binary_search(known_.begin(), known_.end(), name)) continue;
    problems_.Add(LocationOf(key.source()),
                  "unknown key " + NameOf(name) + "; " + SpellingHint(name, known_));
  }
}

}  // namespace lastcall
