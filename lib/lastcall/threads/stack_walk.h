// From the registers of a thread to its frames. Never a fault, never a lock, never without end:
// what cannot be read or makes no sense ends the walk, and the end says what it was.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string_view>
#include <vector>

#include <lastcall/threads/registers.h>

namespace lastcall {

inline constexpr size_t kMostFrames = 64;

struct StackWalk {
  enum class End : uint8_t {
    kOutermost,        // where the thread began: it is whole
    kNoFile,           // code that is in no loaded file: made by the program itself, or garbage
    kNoRules,          // code without frame rules
    kRegisterUnknown,  // the rules need a register that is not known
    kUnreadable,       // the stack is not there, or no copy was made of that part
    kAstray,           // the caller's frame would be inside its callee's: garbage
    kTooDeep,          // more than kMostFrames
  };

  // Innermost first: where it was, and then the addresses that the calls return to.
  std::vector<uint64_t> frames;
  End end = End::kOutermost;
};

// A word of the stack. Empty: it is not there.
using ReadWord = std::function<std::optional<uint64_t>(uint64_t address)>;

// Threads: any.
StackWalk WalkStack(Registers registers, const ReadWord& read);

// "code without frame rules"; empty for kOutermost.
std::string_view Describe(StackWalk::End end);

}  // namespace lastcall
