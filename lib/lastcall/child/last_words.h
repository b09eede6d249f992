// The end of what a program wrote, for a message of one line.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace lastcall {

class LastWords {
 public:
  void Add(std::string_view text);
  // The last lines that say something, with " | " between them; empty: it said nothing.
  std::string Line() const;

 private:
  static constexpr size_t kKept = 4096;
  static constexpr size_t kLines = 3;
  static constexpr size_t kLength = 400;

  std::string tail_;
};

}  // namespace lastcall
