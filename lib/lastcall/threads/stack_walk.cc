#include "lastcall/threads/stack_walk.h"

#include <utility>

#include "lastcall/threads/expression.h"
#include "lastcall/threads/frame_rules.h"
#include "lastcall/threads/frame_table.h"
#include "lastcall/threads/own_memory.h"

namespace lastcall {
namespace {

using End = StackWalk::End;
using RuleKind = FrameRules::Kind;
using Rule = FrameRules::Rule;

constexpr size_t kSp = Registers::kStackPointer;

// Where the caller's stack ends; empty: not to be known.
std::optional<uint64_t> FrameOf(const Rule& rule, const Registers& registers,
                                const ReadWord& read) {
  if (rule.kind == RuleKind::kExpression) return Evaluate(rule.expression, registers, read, {});
  if (rule.kind != RuleKind::kRegister || !registers.Knows(rule.number)) return {};
  return registers.values[rule.number] + static_cast<uint64_t>(rule.offset);
}

// What the caller has in a register; empty: not to be known.
std::optional<uint64_t> ValueBy(const Rule& rule, size_t number, uint64_t frame,
                                const Registers& callee, const ReadWord& read) {
  const uint64_t at = frame + static_cast<uint64_t>(rule.offset);
  switch (rule.kind) {
    case RuleKind::kSame:
      return callee.Knows(number) ? std::optional(callee.values[number]) : std::nullopt;
    case RuleKind::kUndefined: return {};
    case RuleKind::kSaved: return read(at);
    case RuleKind::kFrame: return at;
    case RuleKind::kRegister:
      return callee.Knows(rule.number) ? std::optional(callee.values[rule.number]) : std::nullopt;
    case RuleKind::kExpression: return Evaluate(rule.expression, callee, read, frame);
    case RuleKind::kSavedBy: {
      const auto saved_at = Evaluate(rule.expression, callee, read, frame);
      return saved_at ? read(*saved_at) : std::nullopt;
    }
  }
  return {};
}

class Walker {
 public:
  Walker(Registers registers, const ReadWord& read) : registers_(registers), read_(read) {}

  StackWalk Walk() {
    while (walk_.frames.size() < kMostFrames) {
      walk_.frames.push_back(registers_.instruction);
      if (const auto end = StepOut()) {
        walk_.end = *end;
        return std::move(walk_);
      }
    }
    walk_.end = End::kTooDeep;
    return std::move(walk_);
  }

 private:
  // To the caller. Otherwise: why this was the last.
  std::optional<End> StepOut() {
    // A return address may be the first of the next function: the call is before it.
    const uint64_t at = registers_.instruction - (interrupted_ ? 0 : 1);
    const auto rules = RulesAt(at, pages_);
    if (!rules) return IsInLoadedFile(at) ? End::kNoRules : End::kNoFile;
    const Rule& way_back = rules->registers[rules->return_column];
    if (way_back.kind == RuleKind::kUndefined) return End::kOutermost;
    const auto frame = FrameOf(rules->frame, registers_, read_);
    if (!frame) return Missing(rules->frame);
    if (!rules->of_signal && IsAstray(*frame)) return End::kAstray;
    Registers caller;
    for (size_t i = 0; i < Registers::kCount; ++i) {
      const auto value = ValueBy(rules->registers[i], i, *frame, registers_, read_);
      if (value) caller.Set(i, *value);
    }
    if (rules->registers[kSp].kind == RuleKind::kSame) caller.Set(kSp, *frame);
    if (!caller.Knows(rules->return_column)) return Missing(way_back);
    caller.instruction = caller.values[rules->return_column] & Registers::kAddressBits;
    if (caller.instruction == 0) return End::kOutermost;
    registers_ = caller;
    interrupted_ = rules->of_signal;
    return {};
  }

  // Stacks grow downwards: a caller's frame is above. The innermost function may have none.
  bool IsAstray(uint64_t frame) const {
    const uint64_t now = registers_.values[kSp];
    return walk_.frames.size() == 1 ? frame < now : frame <= now;
  }

  static End Missing(const Rule& rule) {
    return rule.kind == RuleKind::kSaved || rule.kind == RuleKind::kSavedBy ? End::kUnreadable
                                                                            : End::kRegisterUnknown;
  }

  Registers registers_;
  const ReadWord& read_;
  OwnPages pages_;           // of the loaded files
  bool interrupted_ = true;  // its instruction is where it is, not where a call returns to
  StackWalk walk_;
};

}  // namespace

StackWalk WalkStack(Registers registers, const ReadWord& read) {
  return Walker(registers, read).Walk();
}

std::string_view Describe(StackWalk::End end) {
  switch (end) {
    case End::kOutermost: return "";
    case End::kNoFile: return "it goes on in code that is in no loaded file";
    case End::kNoRules: return "it goes on in code without frame rules (CFI)";
    case End::kRegisterUnknown: return "it goes on by a register that is not known";
    case End::kUnreadable: return "it goes on beyond the part of the stack that could be read";
    case End::kAstray: return "it goes on astray: the frame is overwritten";
    case End::kTooDeep: return "it is deeper than that";
  }
  return "";
}

}  // namespace lastcall
