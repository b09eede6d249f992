// From registers to frames: the rules of compilers, and bytes that are none.
#include "lastcall/threads/stack_walk.h"

#include <execinfo.h>
#include <gmock/gmock.h>
#include <ucontext.h>

#include <csignal>
#include <cstring>
#include <random>

#include "lastcall/threads/expression.h"
#include "lastcall/threads/frame_rules.h"
#include "lastcall/threads/frame_table.h"
#include "lastcall/threads/own_memory.h"

namespace lastcall {

// What glibc's unwinder makes of a stack, and what ours does, from the same place.
struct BothWalks {
  std::vector<uint64_t> glibc;
  StackWalk ours;
};

[[gnu::noinline]] BothWalks WalkBothWays() {
  BothWalks both;
  void* frames[kMostFrames];
  const int count = backtrace(frames, kMostFrames);
  for (int i = 0; i < count; ++i) both.glibc.push_back(reinterpret_cast<uint64_t>(frames[i]));
  ucontext_t here;
  getcontext(&here);
  both.ours = WalkStack(Registers::OfContext(here), [](uint64_t at) -> std::optional<uint64_t> {
    uint64_t word;
    return ReadOwn(at, &word, sizeof(word)) ? std::optional(word) : std::nullopt;
  });
  return both;
}

// With a stack of a size that is known at run time alone, so that its frame has a register.
[[gnu::noinline]] BothWalks WalkDeeper(int depth) {
  auto* const some = static_cast<volatile char*>(__builtin_alloca(16 + static_cast<size_t>(depth)));
  some[0] = 1;
  BothWalks both = depth == 0 ? WalkBothWays() : WalkDeeper(depth - 1);
  some[1] = some[0];
  return both;
}

namespace {

using End = StackWalk::End;

BothWalks* walked_in_between = nullptr;

// All but the innermost, which is where each of them began; a sanitizer's glibc has one more.
void ExpectTheSame(const BothWalks& both) {
  EXPECT_EQ(both.ours.end, End::kOutermost);
  EXPECT_GT(both.ours.frames.size(), 5U);
  ASSERT_GE(both.glibc.size(), both.ours.frames.size());
  const auto callers = static_cast<long>(both.ours.frames.size()) - 1;
  EXPECT_EQ(std::vector(both.ours.frames.end() - callers, both.ours.frames.end()),
            std::vector(both.glibc.end() - callers, both.glibc.end()));
}

TEST(StackWalkTest, ItFindsTheFramesThatGlibcFinds) {
  ExpectTheSame(WalkBothWays());
  ExpectTheSame(WalkDeeper(10));
}

TEST(StackWalkTest, ItFindsItsWayThroughTheCLibrary) {
  BothWalks both;
  walked_in_between = &both;
  int numbers[] = {1, 2};
  qsort(numbers, 2, sizeof(int), [](const void*, const void*) {
    *walked_in_between = WalkDeeper(3);
    return 0;
  });
  ExpectTheSame(both);
}

TEST(StackWalkTest, ItFindsItsWayThroughAHandlerToWhatWasInterrupted) {
  BothWalks both;
  walked_in_between = &both;
  struct sigaction action {};
  action.sa_handler = [](int) { *walked_in_between = WalkBothWays(); };
  sigaction(SIGRTMAX - 3, &action, nullptr);
  raise(SIGRTMAX - 3);
  ExpectTheSame(both);
}

TEST(StackWalkTest, ItEndsWhereThereIsNoEnd) {
  EXPECT_EQ(WalkDeeper(100).ours.end, End::kTooDeep);
  EXPECT_EQ(WalkDeeper(100).ours.frames.size(), kMostFrames);
}

TEST(StackWalkTest, NonsenseEndsAndSaysWhy) {
  const auto nothing = [](uint64_t) { return std::optional<uint64_t>(); };
  const auto walk = [&](uint64_t sp, uint64_t at, const ReadWord& read) {
    return WalkStack(Registers::OfSleep(sp, at), read).end;
  };
  const auto inside = reinterpret_cast<uint64_t>(&raise) + 8;
  EXPECT_EQ(walk(0, 0, nothing), End::kNoFile);
  EXPECT_EQ(walk(~0ULL, ~0ULL, nothing), End::kNoFile);
  EXPECT_EQ(walk(4096, inside, nothing), End::kUnreadable);
  // Where every call seems to come from the same place, whose stack does not grow for ever.
  EXPECT_NE(walk(4096, inside, [&](uint64_t) { return std::optional(inside); }), End::kOutermost);
  EXPECT_EQ(walk(~0ULL - 64, inside, [&](uint64_t) { return std::optional(inside); }),
            End::kAstray);
  for (const End end : {End::kNoFile, End::kNoRules, End::kRegisterUnknown, End::kUnreadable,
                        End::kAstray, End::kTooDeep}) {
    EXPECT_NE(Describe(end), "");
  }
  EXPECT_EQ(Describe(End::kOutermost), "");
}

// An entry as compilers write it, for 256 bytes from 0x1000 on.
FrameEntry Written(std::vector<uint8_t> program) {
  FrameEntry entry;
  entry.common = {0,
                  0,
                  0,
                  0,
                  1,
                  'z',
                  'R',
                  0,
                  1,
                  0x78,
                  16,
                  1,
                  0x00 /* absolute */,
                  0x0C,
                  7,
                  8 /* the frame: rsp + 8 */,
                  0x90,
                  1 /* way back: frame - 8 */};
  entry.own = {0, 0, 0, 0, 0x00, 0x10, 0, 0, 0, 0, 0, 0, 0x00, 0x01, 0, 0, 0, 0, 0, 0, 0};
  entry.own.insert(entry.own.end(), program.begin(), program.end());
  return entry;
}

#if defined(__x86_64__)
TEST(StackWalkTest, RulesAreThoseOfTheInstruction) {
  // After one byte: the frame is rsp + 16, rbp is saved; after four more: the frame is rbp + 16.
  const FrameEntry entry = Written({0x41, 0x0E, 16, 0x86, 2, 0x44, 0x0D, 6});
  const auto at = [&](uint64_t instruction) { return RulesIn(entry, instruction); };
  EXPECT_FALSE(at(0xFFF));
  EXPECT_FALSE(at(0x1100));
  ASSERT_TRUE(at(0x1000) && at(0x1001) && at(0x10FF));
  EXPECT_EQ(at(0x1000)->frame.offset, 8);
  EXPECT_EQ(at(0x1000)->registers[6].kind, FrameRules::Kind::kSame);
  EXPECT_EQ(at(0x1001)->frame.offset, 16);
  EXPECT_EQ(at(0x1004)->frame.number, 7U);
  EXPECT_EQ(at(0x1005)->frame.number, 6U);
  EXPECT_EQ(at(0x10FF)->registers[6].offset, -16);
  EXPECT_EQ(at(0x10FF)->registers[16].offset, -8);
}

TEST(StackWalkTest, ARememberedStateIsRecalled) {
  const FrameEntry entry = Written({0x41, 0x0A, 0x0E, 64, 0x41, 0x0B, 0x41, 0xC6});
  EXPECT_EQ(RulesIn(entry, 0x1001)->frame.offset, 64);
  EXPECT_EQ(RulesIn(entry, 0x1002)->frame.offset, 8);
  EXPECT_FALSE(RulesIn(Written({0x0B}), 0x1000));
  // What is restored is as the common part has it.
  const FrameEntry restored = Written({0x41, 0x90, 2, 0x41, 0xD0});
  EXPECT_EQ(RulesIn(restored, 0x1001)->registers[16].offset, -16);
  EXPECT_EQ(RulesIn(restored, 0x1002)->registers[16].offset, -8);
}
#endif

TEST(StackWalkTest, BytesThatAreNoRulesAreRefused) {
  std::mt19937 random(1);  // the same every time
  const FrameEntry good = Written({0x41, 0x0E, 16, 0x86, 2, 0x44, 0x0D, 6});
  for (int i = 0; i < 100'000; ++i) {
    FrameEntry entry = good;
    entry.own.resize(entry.own.size() + random() % 40);
    for (int j = 0; j < 4; ++j) {
      auto& bytes = random() % 2 == 0 ? entry.own : entry.common;
      bytes[random() % bytes.size()] = static_cast<uint8_t>(random());
    }
    if (random() % 4 == 0) entry.own.resize(random() % entry.own.size());
    if (random() % 4 == 0) entry.common.resize(random() % entry.common.size());
    RulesIn(entry, 0x1000 + random() % 256);
  }
}

TEST(StackWalkTest, ExpressionsAreEvaluatedAndNonsenseIsRefused) {
  Registers registers;
  registers.Set(7, 1000);
  const auto read = [](uint64_t at) {
    return at == 1160 ? std::optional<uint64_t>(42) : std::nullopt;
  };
  using Bytes = std::vector<uint8_t>;
  // As the kernel's way back from a handler has it: what is at rsp + 160.
  EXPECT_EQ(Evaluate(Bytes{0x77, 0xA0, 0x01, 0x06}, registers, read, {}), 42U);
  // As a PLT has it: rsp + 8 + ((rip & 15) >= 11) * 8, of a number that is given.
  EXPECT_EQ(Evaluate(Bytes{0x3F, 0x1A, 0x3B, 0x2A, 0x33, 0x24, 0x77, 8, 0x22}, registers, read, 12),
            1016U);
  EXPECT_EQ(Evaluate(Bytes{0x09, 0xFF, 0x23, 3}, registers, read, {}), 2U);
  for (const Bytes& bytes : {Bytes{}, Bytes{0x06}, Bytes{0x22}, Bytes{0x30, 0x22}, Bytes{0x76, 0},
                             Bytes{0x77, 0, 0x06}, Bytes{0x96}, Bytes{0x77}, Bytes(100, 0x30)}) {
    EXPECT_FALSE(Evaluate(bytes, registers, read, {}));
  }
  std::mt19937 random(1);
  for (int i = 0; i < 100'000; ++i) {
    Bytes bytes(random() % 20);
    for (auto& byte : bytes) byte = static_cast<uint8_t>(random());
    Evaluate(bytes, registers, read, 1);
  }
}

TEST(StackWalkTest, OwnMemoryIsReadAsFarAsItGoes) {
  int number = 7, copy = 0;
  EXPECT_TRUE(ReadOwn(reinterpret_cast<uint64_t>(&number), &copy, sizeof(copy)));
  EXPECT_EQ(copy, 7);
  EXPECT_FALSE(ReadOwn(8, &copy, sizeof(copy)));
  EXPECT_EQ(ReadOwnUpTo(8, &copy, sizeof(copy)), 0U);
  EXPECT_TRUE(CanReadOwn());
  OwnPages pages;
  EXPECT_TRUE(pages.Read(reinterpret_cast<uint64_t>(&number), &copy, sizeof(copy)));
  EXPECT_FALSE(pages.Read(8, &copy, sizeof(copy)));
  std::vector<uint8_t> much(3 * 4096), copies(much.size());
  for (size_t i = 0; i < much.size(); ++i) much[i] = static_cast<uint8_t>(i % 251);
  EXPECT_TRUE(pages.Read(reinterpret_cast<uint64_t>(much.data()), copies.data(), much.size()));
  EXPECT_EQ(much, copies);
}

}  // namespace
}  // namespace lastcall
