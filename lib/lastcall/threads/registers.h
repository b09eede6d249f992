// The registers of a thread, by DWARF's numbers for this architecture, as far as they are known.
#pragma once

#include <ucontext.h>

#include <array>
#include <cstdint>

namespace lastcall {

struct Registers {
#if defined(__x86_64__)
  static constexpr size_t kCount = 17;  // rax … r15, and 16: where the caller goes on
  static constexpr size_t kStackPointer = 7;
  static constexpr uint64_t kAddressBits = ~0ULL;
#elif defined(__aarch64__)
  static constexpr size_t kCount = 32;  // x0 … x30, sp
  static constexpr size_t kStackPointer = 31;
  static constexpr uint64_t kAddressBits = (1ULL << 48) - 1;  // above may be a signature
#else
#error "stacks are read on x86_64 and aarch64"
#endif

  std::array<uint64_t, kCount> values{};
  std::array<bool, kCount> known{};
  uint64_t instruction = 0;

  void Set(size_t number, uint64_t value) {
    values[number] = value;
    known[number] = true;
  }
  bool Knows(size_t number) const { return number < kCount && known[number]; }

  // What a sleeping thread tells: where it left its own code.
  static Registers OfSleep(uint64_t stack_pointer, uint64_t instruction) {
    Registers registers;
    registers.Set(kStackPointer, stack_pointer);
    registers.instruction = instruction;
    return registers;
  }

  // Of the code that a signal has interrupted. Threads: signal handlers too.
  static Registers OfContext(const ucontext_t& context) {
    Registers registers;
#if defined(__x86_64__)
    constexpr std::array kOrder = {REG_RAX, REG_RDX, REG_RCX, REG_RBX, REG_RSI, REG_RDI,
                                   REG_RBP, REG_RSP, REG_R8,  REG_R9,  REG_R10, REG_R11,
                                   REG_R12, REG_R13, REG_R14, REG_R15};
    for (size_t i = 0; i < kOrder.size(); ++i) {
      registers.Set(i, static_cast<uint64_t>(context.uc_mcontext.gregs[kOrder[i]]));
    }
    registers.instruction = static_cast<uint64_t>(context.uc_mcontext.gregs[REG_RIP]);
#else
    for (size_t i = 0; i < 31; ++i) registers.Set(i, context.uc_mcontext.regs[i]);
    registers.Set(kStackPointer, context.uc_mcontext.sp);
    registers.instruction = context.uc_mcontext.pc;
#endif
    return registers;
  }
};

}  // namespace lastcall
