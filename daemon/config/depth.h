// How deep a TOML text goes, before it is parsed: parsers, and who walks what they made, call
// themselves once for each level, and forty kilobytes of "a.a.a." end a process.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace lastcall {

struct TooDeep {
  uint32_t line = 0;  // from 1, as columns
  uint32_t column = 0;
  std::string what;  // what is wrong, and the remedy
};

// The first key of more than 32 parts ("a.b.c" has three), or the first array or inline table
// within 32 others; far more than any setting has. Of text that is not TOML it may find one, or
// none where the parser stops before it. Takes time in proportion to the text, and no memory.
std::optional<TooDeep> FindTooDeep(std::string_view text);

}  // namespace lastcall
