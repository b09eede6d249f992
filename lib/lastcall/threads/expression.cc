#include "lastcall/threads/expression.h"

#include <vector>

#include "lastcall/threads/byte_cursor.h"

namespace lastcall {
namespace {

enum ExpressionOp : uint8_t {
  kDeref = 0x06,
  kConst1u = 0x08,
  kConst1s = 0x09,
  kConst2u = 0x0A,
  kConst2s = 0x0B,
  kConst4u = 0x0C,
  kConst4s = 0x0D,
  kConst8u = 0x0E,
  kConst8s = 0x0F,
  kConstu = 0x10,
  kConsts = 0x11,
  kDup = 0x12,
  kDrop = 0x13,
  kAnd = 0x1A,
  kMinus = 0x1C,
  kMul = 0x1E,
  kOr = 0x21,
  kPlus = 0x22,
  kPlusUconst = 0x23,
  kShl = 0x24,
  kShr = 0x25,
  kEq = 0x29,
  kGe = 0x2A,
  kGt = 0x2B,
  kLe = 0x2C,
  kLt = 0x2D,
  kNe = 0x2E,
  kLit0 = 0x30,
  kLit31 = 0x4F,
  kBreg0 = 0x70,
  kBreg31 = 0x8F,
};

class Machine {
 public:
  Machine(const Registers& registers, const ReadWord& read) : registers_(registers), read_(read) {}

  // False: it cannot go on.
  bool Push(uint64_t value) {
    constexpr size_t kDeepest = 64;
    stack_.push_back(value);
    return stack_.size() <= kDeepest;
  }

  std::optional<uint64_t> Pop() {
    if (stack_.empty()) return {};
    const uint64_t top = stack_.back();
    stack_.pop_back();
    return top;
  }

  bool Step(uint8_t op, ByteCursor& bytes) {
    if (op >= kLit0 && op <= kLit31) return Push(op - kLit0);
    if (op >= kBreg0 && op <= kBreg31) return PushRegister(op - kBreg0, bytes.TakeSigned());
    switch (op) {
      case kConst1u: return Push(bytes.Take<uint8_t>());
      case kConst1s: return PushSigned(bytes.Take<int8_t>());
      case kConst2u: return Push(bytes.Take<uint16_t>());
      case kConst2s: return PushSigned(bytes.Take<int16_t>());
      case kConst4u: return Push(bytes.Take<uint32_t>());
      case kConst4s: return PushSigned(bytes.Take<int32_t>());
      case kConst8u:
      case kConst8s: return Push(bytes.Take<uint64_t>());
      case kConstu: return Push(bytes.TakeUnsigned());
      case kConsts: return PushSigned(bytes.TakeSigned());
      default: return Combine(op, bytes);
    }
  }

 private:
  bool PushSigned(int64_t value) { return Push(static_cast<uint64_t>(value)); }

  bool PushRegister(size_t number, int64_t offset) {
    return registers_.Knows(number) &&
           Push(registers_.values[number] + static_cast<uint64_t>(offset));
  }

  bool Combine(uint8_t op, ByteCursor& bytes) {
    const auto top = Pop();
    if (!top) return false;
    switch (op) {
      case kDrop: return true;
      case kDup: return Push(*top) && Push(*top);
      case kPlusUconst: return Push(*top + bytes.TakeUnsigned());
      case kDeref: {
        const auto word = read_(*top);
        return word && Push(*word);
      }
      default: break;
    }
    const auto below = Pop();
    const auto result = below ? OfTwo(op, *below, *top) : std::nullopt;
    return result && Push(*result);
  }

  static std::optional<uint64_t> OfTwo(uint8_t op, uint64_t a, uint64_t b) {
    const auto signed_a = static_cast<int64_t>(a), signed_b = static_cast<int64_t>(b);
    switch (op) {
      case kAnd: return a & b;
      case kOr: return a | b;
      case kPlus: return a + b;
      case kMinus: return a - b;
      case kMul: return a * b;
      case kShl: return b < 64 ? a << b : 0;
      case kShr: return b < 64 ? a >> b : 0;
      case kEq: return a == b;
      case kNe: return a != b;
      case kGe: return signed_a >= signed_b;
      case kGt: return signed_a > signed_b;
      case kLe: return signed_a <= signed_b;
      case kLt: return signed_a < signed_b;
      default: return {};
    }
  }

  const Registers& registers_;
  const ReadWord& read_;
  std::vector<uint64_t> stack_;
};

}  // namespace

std::optional<uint64_t> Evaluate(std::span<const uint8_t> expression, const Registers& registers,
                                 const ReadWord& read, std::optional<uint64_t> first) {
  ByteCursor bytes(expression);
  Machine machine(registers, read);
  if (first) machine.Push(*first);
  while (!bytes.AtEnd()) {
    const auto op = bytes.Take<uint8_t>();
    if (!machine.Step(op, bytes) || !bytes.ok()) return {};
  }
  return machine.Pop();
}

}  // namespace lastcall
