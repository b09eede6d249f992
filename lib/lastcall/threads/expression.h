// DWARF expressions, as far as frame rules use them.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include <lastcall/threads/registers.h>
#include <lastcall/threads/stack_walk.h>

namespace lastcall {

// What it leaves on top. `first`: what is there before it begins. Empty: not understood, a word that
// is not there, or a register that is not known. For any bytes; without loops, so it ends.
std::optional<uint64_t> Evaluate(std::span<const uint8_t> expression, const Registers& registers,
                                 const ReadWord& read, std::optional<uint64_t> first);

}  // namespace lastcall
