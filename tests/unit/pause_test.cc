// Whether the whole process stood still, from numbers and in a child that does.
#include "lastcall/threads/pause.h"

#include <gmock/gmock.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <ctime>

#include "lastcall/threads/thread_sample.h"
#include "pipe_ends.h"

namespace lastcall {
namespace {

using namespace std::chrono_literals;
using Why = Lateness::Cause;

constexpr Instant kPlanned{1h};

TEST(PauseTest, WhoIsOnTimeIsNotLate) {
  EXPECT_EQ(JudgeLateness({kPlanned, kPlanned + 99ms, 0s, 0s}).cause, Why::kNone);
  EXPECT_EQ(JudgeLateness({kPlanned, kPlanned - 5s, 0s, 0s}).cause, Why::kNone);
  EXPECT_EQ(JudgeLateness({}).cause, Why::kNone);
}

TEST(PauseTest, LateThoughNobodyKeptItAndNothingRanIsAPause) {
  const Lateness lateness = JudgeLateness({kPlanned, kPlanned + 12s, 1ms, 30ms});
  EXPECT_EQ(lateness.cause, Why::kPaused);
  EXPECT_EQ(lateness.length, 11'999ms);
  EXPECT_EQ(Describe(lateness),
            "the whole process stood still for 12s (stopped by a signal or a debugger, or its "
            "machine was)");
}

TEST(PauseTest, LateForWantOfAProcessorIsNone) {
  const Lateness lateness = JudgeLateness({kPlanned, kPlanned + 12s, 11s, 0s});
  EXPECT_EQ(lateness.cause, Why::kStarved);
  EXPECT_EQ(lateness.length, 11s);
  EXPECT_EQ(JudgeLateness({kPlanned, kPlanned + 12s, 1h, 0s}).length, 12s);
}

TEST(PauseTest, LateWhileOthersOfTheProcessRanIsNone) {
  EXPECT_EQ(JudgeLateness({kPlanned, kPlanned + 12s, 0s, 11s}).cause, Why::kHeldUp);
}

// Sleeps for a moment, again and again, until it was late; writes what it thinks of that.
[[noreturn]] void LookAfterItself(int out) {
  const auto waited = [] {
    const auto turns = ParseTurns(ReadThreadFile(gettid(), "schedstat").text);
    return turns ? turns->waited : Duration::zero();
  };
  for (bool first = true;; first = false) {
    const Duration queued = waited(), ran = ProcessCpuTime();
    const Instant planned = std::chrono::steady_clock::now() + 10ms;
    if (first && write(out, "r", 1) != 1) _exit(1);
    const timespec until{planned.time_since_epoch() / 1s,
                         (planned.time_since_epoch() % 1s).count()};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, nullptr) == EINTR) {
    }
    const Lateness lateness = JudgeLateness(
        {planned, std::chrono::steady_clock::now(), waited() - queued, ProcessCpuTime() - ran});
    if (lateness.cause == Why::kNone || lateness.cause == Why::kStarved) continue;
    _exit(write(out, &lateness, sizeof(lateness)) == sizeof(lateness) ? 0 : 1);
  }
}

TEST(PauseTest, AChildThatWasStoppedKnowsAfterwards) {
  const PipeEnds pipe;
  const pid_t child = fork();
  if (child == 0) LookAfterItself(pipe.writer.get());
  EXPECT_EQ(pipe.WaitForByte(), 1);
  kill(child, SIGSTOP);
  waitpid(child, nullptr, WUNTRACED);
  const Instant stopped = std::chrono::steady_clock::now();
  poll(nullptr, 0, 500);  // the length of the pause
  const Duration least = std::chrono::steady_clock::now() - stopped - 20ms;
  kill(child, SIGCONT);
  Lateness lateness;
  EXPECT_EQ(read(pipe.reader.get(), &lateness, sizeof(lateness)),
            static_cast<ssize_t>(sizeof(lateness)));
  EXPECT_EQ(lateness.cause, Why::kPaused);
  EXPECT_GE(lateness.length, least);
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
}

}  // namespace
}  // namespace lastcall
