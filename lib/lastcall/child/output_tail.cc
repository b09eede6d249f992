#include "lastcall/child/output_tail.h"

#include <algorithm>
#include <vector>

#include <lastcall/base/safe_text.h>

namespace lastcall {
namespace {

// Of a message of one line.
constexpr size_t kLines = 3;
constexpr size_t kLength = 400;

// Its last so many bytes, from the beginning of a UTF-8 character on.
std::string EndOf(const std::string& text, size_t length) {
  size_t from = text.size() - std::min(text.size(), length);
  while (from < text.size() && (static_cast<unsigned char>(text[from]) & 0xc0) == 0x80) ++from;
  return text.substr(from);
}

}  // namespace

void OutputTail::Add(std::string_view text) {
  cut_ = cut_ || tail_.size() + text.size() > kept_;
  tail_.append(text.substr(text.size() - std::min(text.size(), kept_)));
  if (tail_.size() > kept_) tail_.erase(0, tail_.size() - kept_);
}

std::string OutputTail::Line() const {
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
    text += (text.empty() ? "" : " | ") + SafeText(EndOf(lines[i], kLength + 4));
  }
  return text.size() <= kLength ? text : "…" + EndOf(text, kLength);
}

std::string OutputTail::Lines() const {
  std::string text = tail_;
  while (text.ends_with('\n')) text.pop_back();
  if (!cut_) return SafeLines(std::move(text));
  const size_t line = text.find('\n');  // the end of one that is not whole
  return "…" + SafeLines(line != text.npos ? text.substr(line) : EndOf(text, kept_));
}

}  // namespace lastcall
