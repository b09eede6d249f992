#include "lastcall/base/safe_text.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <utility>

#include "lastcall/base/utf8.h"

namespace lastcall {
namespace {

constexpr std::string_view kEllipsis = "…";

bool IsPlain(char c) { return c >= 0x20 && c < 0x7F; }

std::string Escaped(const char* form, unsigned code) {
  std::array<char, 16> text;
  std::snprintf(text.data(), text.size(), form, code);
  return text.data();
}

std::string Escaped(char32_t code) {
  switch (code) {
    case '\n': return "\\n";
    case '\r': return "\\r";
    case '\t': return "\\t";
    default: return Escaped(code < 0x80 ? "\\x%02x" : "\\u%04x", static_cast<unsigned>(code));
  }
}

// What is at the front of `rest`, made safe; it is taken away.
std::string TakeSafe(std::string_view& rest) {
  const Utf8Character front = FrontCharacter(rest);
  const std::string_view taken = rest.substr(0, std::max<size_t>(front.length, 1));
  rest.remove_prefix(taken.size());
  if (front.length == 0) return Escaped("\\x%02x", static_cast<unsigned char>(taken.front()));
  return IsUnsafeCharacter(front.code) ? Escaped(front.code) : std::string(taken);
}

// `line_break`: what becomes of one.
std::string Written(std::string_view rest, size_t limit, const std::string& line_break) {
  std::string safe;
  size_t may_be_cut = 0;  // the longest part that has room for an ellipsis behind it
  while (!rest.empty()) {
    if (safe.size() + kEllipsis.size() <= limit) may_be_cut = safe.size();
    if (rest.front() == '\n') {
      safe += line_break;
      rest.remove_prefix(1);
    } else {
      safe += TakeSafe(rest);
    }
    if (safe.size() <= limit) continue;
    safe.resize(may_be_cut);
    if (limit >= kEllipsis.size()) safe += kEllipsis;
    break;
  }
  return safe;
}

}  // namespace

bool IsSafeText(std::string_view text) {
  while (true) {
    text.remove_prefix(std::find_if_not(text.begin(), text.end(), IsPlain) - text.begin());
    if (text.empty()) return true;
    const Utf8Character front = FrontCharacter(text);
    if (front.length == 0 || IsUnsafeCharacter(front.code)) return false;
    text.remove_prefix(front.length);
  }
}

std::string SafeText(std::string text, size_t limit) {
  if (text.size() <= limit && IsSafeText(text)) return text;
  return Written(text, limit, Escaped(U'\n'));
}

std::string SafeLines(std::string text, size_t limit, std::string_view indent) {
  if (text.size() <= limit && IsSafeText(text)) return text;
  return Written(text, limit, "\n" + std::string(indent));
}

}  // namespace lastcall
