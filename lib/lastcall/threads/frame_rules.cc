#include "lastcall/threads/frame_rules.h"

#include <string_view>
#include <utility>

#include "lastcall/threads/byte_cursor.h"

namespace lastcall {
namespace {

using RuleKind = FrameRules::Kind;

// By the standards' names.
enum FrameOp : uint8_t {
  kAdvance = 0x40,
  kOffset = 0x80,
  kRestore = 0xC0,
  kNop = 0x00,
  kSetLocation = 0x01,
  kAdvance1 = 0x02,
  kAdvance2 = 0x03,
  kAdvance4 = 0x04,
  kOffsetExtended = 0x05,
  kRestoreExtended = 0x06,
  kUndefined = 0x07,
  kSameValue = 0x08,
  kRegister = 0x09,
  kRememberState = 0x0A,
  kRestoreState = 0x0B,
  kDefCfa = 0x0C,
  kDefCfaRegister = 0x0D,
  kDefCfaOffset = 0x0E,
  kDefCfaExpression = 0x0F,
  kExpression = 0x10,
  kOffsetExtendedSf = 0x11,
  kDefCfaSf = 0x12,
  kDefCfaOffsetSf = 0x13,
  kValOffset = 0x14,
  kValOffsetSf = 0x15,
  kValExpression = 0x16,
  kNegateRaState = 0x2D,  // of aarch64: signatures, which Registers::kAddressBits takes away
  kGnuArgsSize = 0x2E,
};

// How an address is written.
constexpr uint8_t kOmitted = 0xFF, kFormat = 0x0F, kRelative = 0x70, kToItself = 0x10;

std::optional<uint64_t> TakeNumber(ByteCursor& bytes, uint8_t format) {
  switch (format & kFormat) {
    case 0x00:
    case 0x04:
    case 0x0C: return bytes.Take<uint64_t>();
    case 0x03: return bytes.Take<uint32_t>();
    case 0x0B: return static_cast<uint64_t>(int64_t{bytes.Take<int32_t>()});
    default: return {};
  }
}

// What all functions of a kind share.
struct Common {
  uint64_t code_unit = 1;
  int64_t data_unit = 1;
  uint64_t return_column = 0;
  uint8_t addresses = 0;  // how they are written
  bool of_signal = false;
  bool has_sizes = false;  // augmentations have their length in front
  std::span<const uint8_t> program;
};

bool TakeAugmentation(std::string_view letters, ByteCursor bytes, Common& common) {
  for (const char letter : letters.substr(1)) {
    switch (letter) {
      case 'R': common.addresses = bytes.Take<uint8_t>(); break;
      case 'L': bytes.Take<uint8_t>(); break;
      case 'P':
        if (!TakeNumber(bytes, bytes.Take<uint8_t>())) return false;
        break;
      case 'S': common.of_signal = true; break;
      case 'B': break;
      default: return false;
    }
  }
  return bytes.ok();
}

std::optional<Common> ParseCommon(std::span<const uint8_t> text) {
  ByteCursor bytes(text);
  Common common;
  const auto id = bytes.Take<uint32_t>();
  const auto version = bytes.Take<uint8_t>();
  if (id != 0 || (version != 1 && version != 3)) return {};
  std::string_view letters(reinterpret_cast<const char*>(bytes.rest().data()), bytes.rest().size());
  const size_t length = letters.find('\0');
  if (length == std::string_view::npos) return {};
  letters = letters.substr(0, length);
  bytes.TakeBytes(length + 1);
  common.code_unit = bytes.TakeUnsigned();
  common.data_unit = bytes.TakeSigned();
  common.return_column = version == 1 ? bytes.Take<uint8_t>() : bytes.TakeUnsigned();
  if (letters.starts_with('z')) {
    common.has_sizes = true;
    if (!TakeAugmentation(letters, ByteCursor(bytes.TakeBytes(bytes.TakeUnsigned())), common)) {
      return {};
    }
  } else if (!letters.empty()) {
    return {};
  }
  common.program = bytes.rest();
  if (!bytes.ok() || common.return_column >= Registers::kCount) return {};
  return common;
}

// Runs the program of an entry, up to the row that holds an instruction.
class RuleProgram {
 public:
  RuleProgram(const Common& common, uint64_t location, uint64_t until)
      : common_(common), location_(location), until_(until) {
    rules_.return_column = common.return_column;
    rules_.of_signal = common.of_signal;
  }

  // False: not understood.
  bool Run(std::span<const uint8_t> program) {
    ByteCursor bytes(program);
    while (!bytes.AtEnd() && location_ <= until_) {
      const auto op = bytes.Take<uint8_t>();
      if (!Step(op, bytes) || !bytes.ok()) return false;
    }
    return true;
  }

  void KeepInitial() { initial_ = rules_; }
  FrameRules& rules() { return location_ <= until_ ? rules_ : row_; }

 private:
  bool Step(uint8_t op, ByteCursor& bytes) {
    const uint8_t low = op & 0x3F;
    switch (op & 0xC0) {
      case kAdvance: return Advance(low);
      case kOffset: return Set(low, RuleKind::kSaved, Scaled(bytes.TakeUnsigned()));
      case kRestore: return Restore(low);
      default:
        return op >= kDefCfa && op <= kDefCfaOffsetSf && IsFrame(op) ? StepFrame(op, bytes)
                                                                     : StepOther(op, bytes);
    }
  }

  static bool IsFrame(uint8_t op) { return op != kExpression && op != kOffsetExtendedSf; }

  bool StepFrame(uint8_t op, ByteCursor& bytes) {
    FrameRules::Rule& frame = rules_.frame;
    if (op == kDefCfaExpression) {
      frame = {RuleKind::kExpression, 0, 0, TakeBlock(bytes)};
      return true;
    }
    const bool has_register = op == kDefCfa || op == kDefCfaSf || op == kDefCfaRegister;
    const bool has_offset = op != kDefCfaRegister;
    const bool scaled = op == kDefCfaSf || op == kDefCfaOffsetSf;
    if (has_register) frame.number = bytes.TakeUnsigned();
    if (has_offset) {
      frame.offset = scaled ? Scaled(static_cast<uint64_t>(bytes.TakeSigned()))
                            : static_cast<int64_t>(bytes.TakeUnsigned());
    }
    frame.kind = RuleKind::kRegister;
    return true;
  }

  bool StepOther(uint8_t op, ByteCursor& bytes) {
    switch (op) {
      case kNop:
      case kNegateRaState: return true;
      case kSetLocation: return false;  // nobody writes it
      case kAdvance1: return Advance(bytes.Take<uint8_t>());
      case kAdvance2: return Advance(bytes.Take<uint16_t>());
      case kAdvance4: return Advance(bytes.Take<uint32_t>());
      case kRememberState: return Remember();
      case kRestoreState: return Recall();
      case kGnuArgsSize: bytes.TakeUnsigned(); return true;
      default: break;
    }
    const uint64_t number = bytes.TakeUnsigned();
    switch (op) {
      case kOffsetExtended: return Set(number, RuleKind::kSaved, Scaled(bytes.TakeUnsigned()));
      case kOffsetExtendedSf:
        return Set(number, RuleKind::kSaved, Scaled(static_cast<uint64_t>(bytes.TakeSigned())));
      case kValOffset: return Set(number, RuleKind::kFrame, Scaled(bytes.TakeUnsigned()));
      case kValOffsetSf:
        return Set(number, RuleKind::kFrame, Scaled(static_cast<uint64_t>(bytes.TakeSigned())));
      case kRestoreExtended: return Restore(number);
      case kUndefined: return Set(number, RuleKind::kUndefined, 0);
      case kSameValue: return Set(number, RuleKind::kSame, 0);
      case kRegister: return Set(number, RuleKind::kRegister, 0, bytes.TakeUnsigned());
      case kExpression: return Set(number, RuleKind::kSavedBy, 0, 0, TakeBlock(bytes));
      case kValExpression: return Set(number, RuleKind::kExpression, 0, 0, TakeBlock(bytes));
      default: return false;
    }
  }

  // In units, which may be nonsense: wraps around.
  int64_t Scaled(uint64_t count) const {
    return static_cast<int64_t>(count * static_cast<uint64_t>(common_.data_unit));
  }

  static std::vector<uint8_t> TakeBlock(ByteCursor& bytes) {
    const auto block = bytes.TakeBytes(bytes.TakeUnsigned());
    return {block.begin(), block.end()};
  }

  bool Advance(uint64_t units) {
    const uint64_t next = location_ + units * common_.code_unit;
    if (next > until_ && location_ <= until_) row_ = rules_;
    location_ = next;
    return true;
  }

  // Registers that are not kept here, of floating point for one, are skipped.
  bool Set(uint64_t number, RuleKind kind, int64_t offset, uint64_t other = 0,
           std::vector<uint8_t> expression = {}) {
    if (number < Registers::kCount) {
      rules_.registers[number] = {kind, offset, other, std::move(expression)};
    }
    return true;
  }

  bool Restore(uint64_t number) {
    if (number < Registers::kCount) rules_.registers[number] = initial_.registers[number];
    return true;
  }

  bool Remember() {
    constexpr size_t kDeepest = 16;
    remembered_.push_back(rules_);
    return remembered_.size() <= kDeepest;
  }

  bool Recall() {
    if (remembered_.empty()) return false;
    rules_ = std::move(remembered_.back());
    remembered_.pop_back();
    return true;
  }

  const Common common_;
  uint64_t location_;
  const uint64_t until_;
  FrameRules rules_, initial_, row_;
  std::vector<FrameRules> remembered_;
};

}  // namespace

std::optional<FrameRules> RulesIn(const FrameEntry& entry, uint64_t instruction) {
  const auto common = ParseCommon(entry.common);
  if (!common || common->addresses == kOmitted) return {};
  const uint8_t relative = common->addresses & kRelative;
  if ((relative != 0 && relative != kToItself) || common->addresses > 0x7F) return {};
  ByteCursor bytes(entry.own);
  bytes.Take<uint32_t>();  // where the common part is
  const auto begin = TakeNumber(bytes, common->addresses);
  const auto size = TakeNumber(bytes, common->addresses);
  if (!begin || !size) return {};
  const uint64_t first = *begin + (relative == kToItself ? entry.own_at + sizeof(uint32_t) : 0);
  if (common->has_sizes) bytes.TakeBytes(bytes.TakeUnsigned());
  if (!bytes.ok() || instruction < first || instruction - first >= *size) return {};
  RuleProgram program(*common, first, instruction);
  if (!program.Run(common->program)) return {};
  program.KeepInitial();
  if (!program.Run(bytes.rest())) return {};
  return std::move(program.rules());
}

}  // namespace lastcall
