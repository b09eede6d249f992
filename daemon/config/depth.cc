#include "daemon/config/depth.h"

#include <algorithm>

namespace lastcall {
namespace {

constexpr int kMostParts = 32;
constexpr int kMostNested = 32;

// Goes over the text once, and knows of TOML what has to do with depth: texts and comments, in
// which dots and brackets mean nothing, and what ends a key.
class DepthScan {
 public:
  explicit DepthScan(std::string_view text) : text_(text) {}

  std::optional<TooDeep> Run() {
    while (at_ < text_.size()) {
      switch (text_[at_]) {
        case '#': SkipComment(); break;
        case '"':
        case '\'': SkipText(); break;
        case '.': ++dots_, ++at_; break;
        case '[':
        case '{': ++nested_, EndKey(); break;
        case ']':
        case '}': nested_ = std::max(nested_ - 1, 0), EndKey(); break;
        case '\n':
        case '=':
        case ',': EndKey(); break;
        default: ++at_;
      }
      if (dots_ >= kMostParts) return Here("a key has more than 32 parts; none of ours has");
      if (nested_ > kMostNested) {
        return Here("more than 32 arrays or inline tables are within each other; nest less");
      }
    }
    return std::nullopt;
  }

 private:
  void EndKey() {
    dots_ = 0;
    ++at_;
  }
  void SkipComment() { at_ = std::min(text_.find('\n', at_), text_.size()); }
  void SkipText();
  TooDeep Here(std::string what) const;

  const std::string_view text_;
  size_t at_ = 0;
  int dots_ = 0;    // since the last key, header or value began
  int nested_ = 0;  // brackets that are open
};

// To behind its end; of one line, to that line's end where it has none: no parser goes on there.
void DepthScan::SkipText() {
  const char quote = text_[at_];
  const std::string three(3, quote);
  const bool lines = text_.substr(at_, 3) == three;
  at_ += lines ? 3 : 1;
  for (; at_ < text_.size(); ++at_) {
    if (quote == '"' && text_[at_] == '\\') {
      ++at_;
    } else if (lines && text_.substr(at_, 3) == three) {
      at_ += 3;
      // Up to two quotes more belong to the text.
      for (int more = 0; more < 2 && at_ < text_.size() && text_[at_] == quote; ++more) ++at_;
      return;
    } else if (!lines && text_[at_] == quote) {
      ++at_;
      return;
    } else if (!lines && text_[at_] == '\n') {
      return;
    }
  }
}

TooDeep DepthScan::Here(std::string what) const {
  const std::string_view before = text_.substr(0, at_);
  const size_t line = before.rfind('\n') + 1;  // 0 where there is none
  return {static_cast<uint32_t>(std::count(before.begin(), before.end(), '\n') + 1),
          static_cast<uint32_t>(at_ - line + 1), std::move(what)};
}

}  // namespace

std::optional<TooDeep> FindTooDeep(std::string_view text) { return DepthScan(text).Run(); }

}  // namespace lastcall
