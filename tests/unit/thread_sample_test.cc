// What is read from /proc about one thread, of any text whatever.
#include "lastcall/threads/thread_sample.h"

#include <gmock/gmock.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include <random>

#include "own_thread.h"
#include "pipe_ends.h"

namespace lastcall {
namespace {

using Kind = KernelPlace::Kind;
using testing::HasSubstr;

TEST(ThreadSampleTest, ASystemCallIsReadWithItsArguments) {
  const KernelPlace place = ParseKernelPlace(
      "0 0x3 0x7f83b5a6d000 0x20000 0x7f83b5afdb60 0xffffffffffffffff 0x0 0x7ffebc3dfab8 "
      "0x7f83b5be62ad\n");
  EXPECT_EQ(place.kind, Kind::kCall);
  EXPECT_EQ(place.number, 0);
  EXPECT_THAT(place.arguments,
              testing::ElementsAre(3, 0x7f83b5a6d000, 0x20000, 0x7f83b5afdb60, ~0ULL, 0));
  EXPECT_EQ(place.stack_pointer, 0x7ffebc3dfab8U);
  EXPECT_EQ(place.instruction, 0x7f83b5be62adU);
  EXPECT_EQ(place.why, "");
}

TEST(ThreadSampleTest, AThreadThatRunsIsAwakeAndOneThatWaitsForMemoryIsInNoCall) {
  EXPECT_EQ(ParseKernelPlace("running\n").kind, Kind::kAwake);
  const KernelPlace place = ParseKernelPlace("-1 0x7ffebc3dfab8 0x7f83b5be62ad\n");
  EXPECT_EQ(place.kind, Kind::kNoCall);
  EXPECT_EQ(place.stack_pointer, 0x7ffebc3dfab8U);
}

TEST(ThreadSampleTest, WhatIsNotUnderstoodIsUnknownAndSaysWhy) {
  for (const char* text :
       {"", "\n", "walking", "0", "0 0x3", "0 0x3 0x1 0x1 0x1 0x1 0x1 0x1", "-1 0x1",
        "7 0x1 0x2 0x3 0x4 0x5 0x6 0x7 nine", "99999999999999999999 1 2 3 4 5 6 7 8",
        "0 0x1ffffffffffffffff 0x2 0x3 0x4 0x5 0x6 0x7 0x8", "x 0x1 0x2"}) {
    const KernelPlace place = ParseKernelPlace(text);
    EXPECT_EQ(place.kind, Kind::kUnknown) << text;
    EXPECT_NE(place.why, "") << text;
  }
}

TEST(ThreadSampleTest, TurnsAreReadAndZerosAreNone) {
  const auto turns = ParseTurns("65829 41462 2\n");
  ASSERT_TRUE(turns);
  EXPECT_EQ(turns->waited, std::chrono::nanoseconds(41462));
  EXPECT_EQ(turns->count, 2U);
  for (const char* text :
       {"", "0 0 0\n", "1 2", "1 -2 3", "a b c", "1 2 -3", "1 99999999999999999999 3", "1 2 3x"}) {
    EXPECT_FALSE(ParseTurns(text)) << text;
  }
}

TEST(ThreadSampleTest, TheStateStandsBehindTheNameWhateverThatIs) {
  EXPECT_EQ(ParseState("7750 (cat) R 7735 7750"), 'R');
  EXPECT_EQ(ParseState("7750 (a) S (b\n) D 7735 7750"), 'D');
  EXPECT_EQ(ParseState("7750 (cat) t 1"), 't');
  for (const char* text : {"", "7750", "7750 (cat)", "7750 (cat) ", "7750 (cat) 7", "(cat) \n"}) {
    EXPECT_EQ(ParseState(text), '?') << text;
  }
}

TEST(ThreadSampleTest, NoTextAtAllIsTooMuch) {
  std::mt19937 random(1);  // the same every time
  const std::string_view letters = "0123456789abcdefx -\n()RS\xff";
  for (int i = 0; i < 20'000; ++i) {
    std::string text(random() % 120, ' ');
    for (char& letter : text) letter = letters[random() % letters.size()];
    ParseKernelPlace(text);
    ParseTurns(text);
    ParseState(text);
  }
}

TEST(ThreadSampleTest, AThreadThatReadsAPipeIsSeenThere) {
  const PipeEnds pipe;
  OwnThread thread([&] { pipe.WaitForByte(); });
  thread.AwaitIn("read");
  const ThreadSample sample = Look(thread.id());
  EXPECT_FALSE(sample.gone);
  EXPECT_EQ(sample.state, 'S');
  EXPECT_EQ(sample.place.number, SYS_read);
  EXPECT_EQ(sample.place.arguments[0], static_cast<uint64_t>(pipe.reader.get()));
  EXPECT_TRUE(sample.ran);
  EXPECT_TRUE(sample.turns);
  pipe.Release();
}

TEST(ThreadSampleTest, OneThatHasEndedIsGone) {
  OwnThread thread([] {});
  thread.Join();
  while (!Look(thread.id()).gone) std::this_thread::yield();  // the kernel's end of it comes later
  EXPECT_THAT(Look(thread.id()).place.why, HasSubstr("ended"));
  EXPECT_FALSE(CpuTimeOf(thread.id()));
  EXPECT_FALSE(CpuTimeOf(0));
  EXPECT_FALSE(CpuTimeOf(-1));
  EXPECT_TRUE(Look(0).gone);
}

TEST(ThreadSampleTest, AFileThatIsMissingSaysSoAndTheThreadIsNotGone) {
  const ThreadFile file = ReadThreadFile(gettid(), "no_such_file");
  EXPECT_FALSE(file.gone);
  EXPECT_THAT(file.why, HasSubstr("no_such_file: No such file"));
}

TEST(ThreadSampleTest, WithoutAFreeDescriptorTheRestIsUnknownAndTheCpuTimeIsNot) {
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  const rlimit none{0, limit.rlim_max};
  setrlimit(RLIMIT_NOFILE, &none);
  const ThreadSample sample = Look(gettid());
  setrlimit(RLIMIT_NOFILE, &limit);
  EXPECT_FALSE(sample.gone);
  EXPECT_TRUE(sample.ran);
  EXPECT_EQ(sample.place.kind, Kind::kUnknown);
  EXPECT_THAT(sample.place.why, HasSubstr("Too many open files"));
}

}  // namespace
}  // namespace lastcall
