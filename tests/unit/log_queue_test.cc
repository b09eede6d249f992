// LogQueue: order, bound, count, flush and abandonment, with a sink that takes a line when the test
// lets it.
#include <lastcall/base/log_queue.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <condition_variable>
#include <csignal>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <lastcall/event/latch.h>

namespace lastcall {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::IsEmpty;

constexpr LogLevel kInfo = LogLevel::kInfo;
constexpr Duration kLong = 1min;

// Whoever reads the log. What its sinks use lives as long as they do.
class Reader {
 public:
  LogQueue::Sink sink() const {
    return [shared = shared_](const LogQueue::Line& line) { return shared->Take(line); };
  }

  // From here on a line is taken only by Take.
  void Stop() const { shared_->Set(shared_->reads, false); }
  void GoOn() const { shared_->Set(shared_->reads, true); }
  void Refuse(bool refuses) const { shared_->Set(shared_->refuses, refuses); }
  // Blocks: until a line is held out to it, so many in all.
  void AwaitCalls(int count) const {
    std::unique_lock lock(shared_->mutex);
    shared_->changed.wait(lock, [&] { return shared_->calls >= count; });
  }
  int calls() const {
    std::lock_guard lock(shared_->mutex);
    return shared_->calls;
  }
  std::vector<std::string> lines() const {
    std::lock_guard lock(shared_->mutex);
    return shared_->lines;
  }

 private:
  struct Shared {
    bool Take(const LogQueue::Line& line) {
      std::unique_lock lock(mutex);
      ++calls;
      changed.notify_all();
      changed.wait(lock, [this] { return reads; });
      if (!refuses) lines.push_back(line.text);
      return !refuses;
    }
    void Set(bool& what, bool value) {
      std::lock_guard lock(mutex);
      what = value;
      changed.notify_all();
    }

    std::mutex mutex;
    std::condition_variable changed;
    bool reads = true;
    bool refuses = false;
    int calls = 0;
    std::vector<std::string> lines;
  };
  std::shared_ptr<Shared> shared_ = std::make_shared<Shared>();
};

std::string Dropped(int lines) {
  return std::to_string(lines) + " log lines were dropped because the log was not read";
}

// A queue whose reader has stopped, with the line "in hand" held out to it.
struct Stuck {
  explicit Stuck(LogQueue::Limits limits = {}) : queue(reader.sink(), LogLevel::kTrace, limits) {
    reader.Stop();
    queue(kInfo, "in hand");
    reader.AwaitCalls(1);
  }
  ~Stuck() { reader.GoOn(); }

  Reader reader;
  LogQueue queue;
};

TEST(LogQueueTest, LinesOfEachThreadComeInTheirOrderAndNoneIsLost) {
  constexpr int kThreads = 4, kLines = 2000;
  const Reader reader;
  const LogQueue queue(reader.sink());
  {
    std::vector<std::jthread> threads;
    for (int thread = 0; thread < kThreads; ++thread) {
      threads.emplace_back([&, thread] {
        for (int line = 0; line < kLines; ++line) {
          queue(kInfo, std::to_string(thread) + " " + std::to_string(line));
        }
      });
    }
  }
  ASSERT_TRUE(queue.Flush(kLong));
  std::vector<int> next(kThreads);
  for (const std::string& line : reader.lines()) {
    const int thread = line[0] - '0';
    EXPECT_EQ(line, std::to_string(thread) + " " + std::to_string(next[thread]++));
  }
  EXPECT_THAT(next, testing::Each(kLines));
}

TEST(LogQueueTest, ALineKeepsTheTimeAtWhichItWasSaid) {
  const SteadyClock clock;
  std::vector<WallTime> times;
  Latch held, go_on;
  const LogQueue queue([&](const LogQueue::Line& line) {
    held.Set();
    go_on.Wait();
    times.push_back(line.at);
    return true;
  });
  queue(kInfo, "first");
  held.Wait();
  queue(kInfo, "second");
  const WallTime before = clock.Wall();
  go_on.Set();
  ASSERT_TRUE(queue.Flush(kLong));
  EXPECT_LE(times.at(1), before);
}

TEST(LogQueueTest, WhatDoesNotFitIsCountedAndSaidInItsPlace) {
  Stuck stuck({.lines = 4, .bytes = 1000});
  for (const char* line : {"1", "2", "3", "4", "too much", "too much"}) stuck.queue(kInfo, line);
  stuck.reader.GoOn();
  ASSERT_TRUE(stuck.queue.Flush(kLong));
  stuck.queue(kInfo, "later");
  ASSERT_TRUE(stuck.queue.Flush(kLong));
  EXPECT_THAT(stuck.reader.lines(),
              ElementsAre("in hand", "1", "2", "3", "4", Dropped(2), "later"));
}

TEST(LogQueueTest, BytesAreBoundedToo) {
  Stuck stuck({.lines = 1000, .bytes = 10});
  for (const char* line : {"12345", "67890", "x"}) stuck.queue(kInfo, line);
  stuck.queue(kInfo, std::string(100, 'x'));
  stuck.reader.GoOn();
  ASSERT_TRUE(stuck.queue.Flush(kLong));
  EXPECT_THAT(stuck.reader.lines(), ElementsAre("in hand", "12345", "67890", Dropped(2)));
}

// A reader that is slow has one wide gap, not one after each line.
TEST(LogQueueTest, OnceItIsFullNothingIsTakenUntilHalfOfItIsFree) {
  Latch held;
  std::mutex mutex;
  std::condition_variable changed;
  int permits = 0;
  std::vector<std::string> lines;
  const LogQueue queue(
      [&](const LogQueue::Line& line) {
        held.Set();
        std::unique_lock lock(mutex);
        changed.wait(lock, [&] { return permits > 0; });
        --permits;
        lines.push_back(line.text);
        changed.notify_all();
        return true;
      },
      LogLevel::kTrace, {.lines = 4, .bytes = 1000});
  const auto read = [&](int count) {
    std::unique_lock lock(mutex);
    const size_t target = lines.size() + static_cast<size_t>(count);
    permits += count;
    changed.notify_all();
    changed.wait(lock, [&] { return lines.size() == target; });
  };
  queue(kInfo, "in hand");
  held.Wait();
  for (const char* line : {"1", "2", "3", "4", "dropped"}) queue(kInfo, line);
  read(1);  // "in hand"; "1" is in hand then, or soon
  queue(kInfo, "dropped");
  read(3);  // now at most one is left in the queue
  queue(kInfo, "taken");
  read(3);
  std::lock_guard lock(mutex);
  EXPECT_THAT(lines, ElementsAre("in hand", "1", "2", "3", "4", Dropped(2), "taken"));
}

TEST(LogQueueTest, ALineThatTheSinkRefusesIsDroppedToo) {
  const Reader reader;
  const LogQueue queue(reader.sink());
  reader.Refuse(true);
  queue(kInfo, "lost");
  queue(kInfo, "lost");
  ASSERT_TRUE(queue.Flush(kLong));
  const int calls = reader.calls();
  EXPECT_TRUE(queue.Flush(kLong));
  EXPECT_EQ(reader.calls(), calls) << "it tries again and again";
  reader.Refuse(false);
  queue(kInfo, "taken");
  ASSERT_TRUE(queue.Flush(kLong));
  EXPECT_THAT(reader.lines(), ElementsAre(Dropped(2), "taken"));
}

TEST(LogQueueTest, AnExceptionOfTheSinkCostsItsLine) {
  int calls = 0;
  std::vector<std::string> lines;
  const LogQueue queue([&](const LogQueue::Line& line) {
    if (++calls == 1) throw std::runtime_error("broken");
    if (calls == 2) throw 7;
    lines.push_back(line.text);
    return true;
  });
  queue(kInfo, "lost");
  ASSERT_TRUE(queue.Flush(kLong));
  queue(kInfo, "next");
  ASSERT_TRUE(queue.Flush(kLong));
  // The count, too, met an exception, and was said after the next line then.
  EXPECT_THAT(lines, ElementsAre("next", "1 log line was dropped because the log was not read"));
}

TEST(LogQueueTest, LinesBelowTheLevelAreLeftOut) {
  const Reader reader;
  const LogQueue queue(reader.sink(), LogLevel::kWarning);
  queue(kInfo, "left out");
  queue(LogLevel::kWarning, "said");
  const LogQueue copy = queue;
  copy.SetLevel(LogLevel::kDebug);
  EXPECT_EQ(queue.level(), LogLevel::kDebug);
  queue(kInfo, "said now");
  ASSERT_TRUE(queue.Flush(kLong));
  EXPECT_THAT(reader.lines(), ElementsAre("said", "said now"));
}

TEST(LogQueueTest, AFlushHasAnEndThoughTheReaderHasStopped) {
  Stuck stuck;
  const Instant before = std::chrono::steady_clock::now();
  EXPECT_FALSE(stuck.queue.Flush());
  EXPECT_GE(std::chrono::steady_clock::now() - before, LogQueue::kPatience);
  stuck.reader.GoOn();
  EXPECT_TRUE(stuck.queue.Flush(kLong));
  EXPECT_THAT(stuck.reader.lines(), ElementsAre("in hand"));
}

TEST(LogQueueTest, TheLastHandleWritesWhatIsLeft) {
  const Reader reader;
  {
    const LogQueue queue(reader.sink());
    const Log copy = queue;
    for (const char* line : {"1", "2", "3"}) copy(kInfo, line);
  }
  EXPECT_THAT(reader.lines(), ElementsAre("1", "2", "3"));
}

TEST(LogQueueTest, TheLastHandleLeavesASinkThatDoesNotReturnToItself) {
  const Reader reader;
  const auto freed = std::make_shared<Latch>();  // Set may return after the wait
  {
    struct Owned {
      ~Owned() { end->Set(); }
      std::shared_ptr<Latch> end;
    };
    const auto owned = std::make_shared<Owned>(freed);
    const LogQueue queue([sink = reader.sink(), owned](const auto& line) { return sink(line); });
    reader.Stop();
    queue(kInfo, "in hand");
    queue(kInfo, "dropped");
    reader.AwaitCalls(1);
  }
  EXPECT_FALSE(freed->IsSet()) << "what the sink uses has gone, and it runs";
  reader.GoOn();
  freed->Wait();
  EXPECT_THAT(reader.lines(), ElementsAre("in hand"));
}

TEST(LogQueueTest, WhatIsLeftForAnotherProgramIsCountedAndNothingIsWrittenMeanwhile) {
  Stuck stuck({.lines = 3, .bytes = 1000});
  for (const char* line : {"1", "2", "3", "dropped", "dropped"}) stuck.queue(kInfo, line);
  EXPECT_EQ(stuck.queue.Suspend(), 6u);  // with the one in hand
  stuck.reader.GoOn();
  EXPECT_FALSE(stuck.queue.Flush());
  EXPECT_THAT(stuck.reader.lines(), ElementsAre("in hand"));
  EXPECT_EQ(stuck.queue.Suspend(), 5u);
  stuck.queue.Resume();
  EXPECT_TRUE(stuck.queue.Flush(kLong));
  EXPECT_THAT(stuck.reader.lines(), ElementsAre("in hand", "1", "2", "3", Dropped(2)));
}

TEST(LogQueueTest, WhatWasDroppedElsewhereIsSaidFirst) {
  Stuck stuck;
  stuck.queue.AddDropped(7);
  stuck.queue(kInfo, "goes on");
  EXPECT_EQ(stuck.queue.Suspend(), 9u);
  stuck.queue.Resume();
  stuck.reader.GoOn();
  EXPECT_TRUE(stuck.queue.Flush(kLong));
  EXPECT_THAT(stuck.reader.lines(), ElementsAre("in hand", Dropped(7), "goes on"));
}

TEST(LogQueueTest, NoHandlerOfASignalRunsInItsThread) {
  sigset_t mask;
  const LogQueue queue([&](const LogQueue::Line&) {
    pthread_sigmask(SIG_BLOCK, nullptr, &mask);
    return true;
  });
  queue(kInfo, "look");
  ASSERT_TRUE(queue.Flush(kLong));
  for (const int signal : {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGCHLD, SIGALRM}) {
    EXPECT_EQ(sigismember(&mask, signal), 1) << signal;
  }
  for (const int signal : {SIGSEGV, SIGRTMAX - 1})
    EXPECT_EQ(sigismember(&mask, signal), 0) << signal;
}

TEST(LogQueueTest, AForkedChildMayLetItGo) {
  std::optional<Stuck> stuck(std::in_place);
  const pid_t child = fork();
  if (child == 0) {
    alarm(60);
    { const LogQueue gone = std::move(stuck->queue); }
    _exit(0);
  }
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

TEST(LogQueueBeforeTest, AQueueIsTakenAsItIs) {
  const Reader reader;
  const LogQueue queue(reader.sink());
  const LogQueue same = LogQueue::Before(Log(queue));
  same.SetLevel(LogLevel::kError);
  EXPECT_EQ(queue.level(), LogLevel::kError);
  EXPECT_TRUE(same.Release(kNever));
  queue(LogLevel::kError, "goes on");
  EXPECT_TRUE(queue.Flush(kLong));
  EXPECT_THAT(reader.lines(), ElementsAre("goes on"));
}

// A function of the program's own, with what it uses on somebody's stack.
TEST(LogQueueBeforeTest, AFunctionIsNotCalledAnyMoreOnceItWasReleased) {
  Latch called, go_on, released;
  std::vector<std::string> lines;
  {
    const LogQueue queue = LogQueue::Before([&](LogLevel, std::string_view text) {
      called.Set();
      go_on.Wait();
      lines.emplace_back(text);
    });
    queue(kInfo, "in hand");
    called.Wait();
    queue(kInfo, "dropped");
    EXPECT_FALSE(queue.Release(std::chrono::steady_clock::now()));
    std::jthread releasing([&] {
      EXPECT_TRUE(queue.Release(kNever));
      released.Set();
    });
    EXPECT_FALSE(released.IsSet());
    go_on.Set();
    released.Wait();
    queue(kInfo, "too late");
  }
  EXPECT_THAT(lines, ElementsAre("in hand"));
}

TEST(LogQueueBeforeTest, NoLogIsStderr) {
  testing::internal::CaptureStderr();
  for (const Log& log : {Log(), Log(LogToStderr)}) {
    const LogQueue queue = LogQueue::Before(log);
    queue(kInfo, "left out");
    queue(LogLevel::kError, "said");
    EXPECT_TRUE(queue.Flush(kLong));
  }
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "said\nsaid\n");
}

}  // namespace
}  // namespace lastcall
