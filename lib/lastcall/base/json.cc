#include "lastcall/base/json.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>

#include "lastcall/base/safe_text.h"
#include "lastcall/base/utf8.h"

namespace lastcall {
namespace {

void AppendEscaped(char32_t code, std::string& out) {
  switch (code) {
    case '"': out += "\\\""; return;
    case '\\': out += "\\\\"; return;
    case '\n': out += "\\n"; return;
    case '\r': out += "\\r"; return;
    case '\t': out += "\\t"; return;
    default: break;
  }
  std::array<char, 16> escape;
  std::snprintf(escape.data(), escape.size(), "\\u%04x", static_cast<unsigned>(code));
  out += escape.data();
}

// What JSON must escape, and what a terminal or an editor would obey.
bool IsEscaped(char32_t code) { return code == '"' || code == '\\' || IsUnsafeCharacter(code); }

}  // namespace

void JsonWriter::Separate() {
  if (needs_comma_) text_ += ',';
  needs_comma_ = true;
}

JsonWriter& JsonWriter::Open(char bracket) {
  Separate();
  text_ += bracket;
  needs_comma_ = false;
  return *this;
}

JsonWriter& JsonWriter::Close(char bracket) {
  text_ += bracket;
  needs_comma_ = true;
  return *this;
}

JsonWriter& JsonWriter::Key(std::string_view key) {
  String(key);
  text_ += ':';
  needs_comma_ = false;
  return *this;
}

JsonWriter& JsonWriter::String(std::string_view value) {
  Separate();
  text_ += '"';
  while (!value.empty()) {
    const Utf8Character front = FrontCharacter(value);
    if (front.length == 0) {
      text_ += "\xEF\xBF\xBD";
    } else if (IsEscaped(front.code)) {
      AppendEscaped(front.code, text_);
    } else {
      text_ += value.substr(0, front.length);
    }
    value.remove_prefix(std::max<size_t>(front.length, 1));
  }
  text_ += '"';
  return *this;
}

JsonWriter& JsonWriter::Integer(int64_t value) {
  Separate();
  text_ += std::to_string(value);
  return *this;
}

JsonWriter& JsonWriter::Number(double value) {
  if (!std::isfinite(value)) return Null();
  Separate();
  std::array<char, 400> buffer;
  const int size = std::snprintf(buffer.data(), buffer.size(), "%.6f", value);
  std::string_view digits(buffer.data(), size);
  digits = digits.substr(0, digits.find_last_not_of('0') + 1);
  if (digits.back() == '.') digits.remove_suffix(1);
  text_ += digits == "-0" ? "0" : digits;
  return *this;
}

JsonWriter& JsonWriter::Boolean(bool value) { return Raw(value ? "true" : "false"); }

JsonWriter& JsonWriter::Null() { return Raw("null"); }

JsonWriter& JsonWriter::Raw(std::string_view json) {
  Separate();
  text_ += json;
  return *this;
}

}  // namespace lastcall
