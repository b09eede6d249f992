// How the registers of a caller are found from those of the function that it called: the rules that
// compilers write into .eh_frame (LSB Core, "Exception Frames"; DWARF, "Call Frame Information").
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include <lastcall/threads/registers.h>

namespace lastcall {

struct FrameRules {
  enum class Kind : uint8_t {
    kSame,        // as it is
    kUndefined,   // it has none; where the caller goes on: there is no caller
    kSaved,       // in memory at frame + offset
    kFrame,       // frame + offset itself
    kRegister,    // in register `number`
    kSavedBy,     // in memory where the expression says
    kExpression,  // what the expression says
  };
  struct Rule {
    Kind kind = Kind::kSame;
    int64_t offset = 0;
    uint64_t number = 0;
    std::vector<uint8_t> expression;
  };

  // Where the caller's stack ends ("canonical frame address"): kExpression, or register + offset.
  Rule frame{Kind::kUndefined, 0, 0, {}};
  std::array<Rule, Registers::kCount> registers;
  uint64_t return_column = 0;
  bool of_signal = false;  // the kernel's way back from a handler: the caller was interrupted
};

// The bytes of an entry and of what it shares with others, and where they came from.
struct FrameEntry {
  uint64_t common_at = 0;
  std::vector<uint8_t> common;  // CIE, without its length
  uint64_t own_at = 0;
  std::vector<uint8_t> own;  // FDE, without its length
};

// The rules at `instruction`. Empty: the entry is not for it, or not understood. For any bytes.
std::optional<FrameRules> RulesIn(const FrameEntry& entry, uint64_t instruction);

}  // namespace lastcall
