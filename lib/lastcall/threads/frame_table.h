// The table of a loaded file in which the frame rules of its functions are found (.eh_frame_hdr).
// Takes no lock and follows no pointer by itself: the kernel reads, so that a file that is unloaded
// meanwhile, or one with a table that is nonsense, has no rules, and nothing happens.
#pragma once

#include <cstdint>
#include <optional>

#include <lastcall/threads/frame_rules.h>

namespace lastcall {

class OwnPages;

// Whether a loaded file holds `instruction`. Code that a program has made itself is in none.
bool IsInLoadedFile(uint64_t instruction);

// Empty: its file has no rules for it, as hand-written code often has not.
std::optional<FrameRules> RulesAt(uint64_t instruction, OwnPages& pages);

}  // namespace lastcall
