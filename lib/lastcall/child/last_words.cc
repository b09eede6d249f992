#include "lastcall/child/last_words.h"

#include <algorithm>
#include <vector>

#include <lastcall/base/safe_text.h>

namespace lastcall {

void LastWords::Add(std::string_view text) {
  tail_.append(text.substr(text.size() - std::min(text.size(), kKept)));
  if (tail_.size() > kKept) tail_.erase(0, tail_.size() - kKept);
}

std::string LastWords::Line() const {
  std::vector<std::string> lines(1);
  for (const char each : tail_) {
    if (each != '\n') {
      lines.back() += each;
    } else if (!lines.back().empty()) {
      lines.emplace_back();
    }
  }
  if (lines.back().empty()) lines.pop_back();
  std::string text;
  for (size_t i = lines.size() - std::min(lines.size(), kLines); i < lines.size(); ++i) {
    text += (text.empty() ? "" : " | ") + SafeText(lines[i]);
  }
  if (text.size() <= kLength) return text;
  size_t from = text.size() - kLength;
  while ((text[from] & 0xc0) == 0x80) ++from;  // not in the middle of a UTF-8 character
  return "…" + text.substr(from);
}

}  // namespace lastcall
