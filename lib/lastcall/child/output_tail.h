// The end of what a program wrote, made safe to show.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace lastcall {

class OutputTail {
 public:
  // Keeps so many bytes.
  explicit OutputTail(size_t kept) : kept_(kept) {}

  void Add(std::string_view text);
  // For a message of one line: the last lines that say something, with " | " between them; empty: it
  // said nothing.
  std::string Line() const;
  // All lines that are kept, without a line break at the end; behind "…" where there were more.
  std::string Lines() const;

 private:
  size_t kept_;
  bool cut_ = false;  // something is not kept
  std::string tail_;
};

}  // namespace lastcall
