// The stacks of other threads, for the receipt and the dump.
#include "lastcall/host/stack.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <pthread.h>
#include <semaphore.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <thread>

#include "await_asleep.h"
#include "lastcall/base/unique_fd.h"
#include "lastcall/event/latch.h"
#include "lastcall/host/symbols.h"

namespace lastcall {

// Not in the anonymous namespace, not inlined, and with something to do afterwards: so that it has
// a frame with a name.
[[gnu::noinline]] void BlockedInAFunctionWithAName(const Latch& release, std::atomic<pid_t>& id) {
  id = gettid();
  release.Wait();
  asm volatile("");
}

[[gnu::noinline]] void BusyInAFunctionWithAName(const Latch& release, std::atomic<pid_t>& id) {
  id = gettid();
  while (!release.IsSet()) asm volatile("");
}

namespace {

// The thread that is held up at the end of its answer until this is 0; and whether it is there.
std::atomic<pid_t> slow_to_answer{0};
std::atomic<bool> is_slow{false};

const auto real_sem_post = reinterpret_cast<int (*)(sem_t*)>(dlsym(RTLD_NEXT, "sem_post"));

}  // namespace
}  // namespace lastcall

// In the place of the C library's, for this program: what an answer ends with.
extern "C" int sem_post(sem_t* semaphore) noexcept {
  if (lastcall::slow_to_answer == gettid()) {
    lastcall::is_slow = true;
    while (lastcall::slow_to_answer != 0) continue;
  }
  return lastcall::real_sem_post(semaphore);
}

namespace lastcall {
namespace {

using namespace std::chrono_literals;
using testing::Contains;
using testing::HasSubstr;
using testing::IsEmpty;

class StackTest : public testing::Test {
 protected:
  // Where the machine is busy a thread may not answer in time: asks again, for some seconds.
  static std::vector<std::string> AwaitStackOf(pid_t id) {
    const auto until = std::chrono::steady_clock::now() + 10s;
    auto frames = StackOf(id);
    while (frames.empty() && std::chrono::steady_clock::now() < until) frames = StackOf(id);
    return frames;
  }

  Latch release_;
  std::atomic<pid_t> id_{0};
};

class BlockedStackTest : public StackTest {
 protected:
  void SetUp() override {
#ifdef __SANITIZE_THREAD__
    GTEST_SKIP() << "this sanitizer keeps signals back while a thread is in a system call";
#endif
  }

  // A thread that blocks in a function with a name until the test ends.
  std::jthread Blocked(std::atomic<pid_t>& id, const char* name = "blocked") {
    std::jthread thread([this, &id, name] {
      pthread_setname_np(pthread_self(), name);
      BlockedInAFunctionWithAName(release_, id);
    });
    AwaitAsleep(id);
    return thread;
  }

  // The same, where it never answers.
  std::jthread Deaf(std::atomic<pid_t>& id) {
    std::jthread thread([this, &id] {
      sigset_t all;
      sigfillset(&all);
      pthread_sigmask(SIG_BLOCK, &all, nullptr);
      BlockedInAFunctionWithAName(release_, id);
    });
    AwaitAsleep(id);
    return thread;
  }
};

TEST_F(BlockedStackTest, ABlockedThreadIsInTheFunctionThatBlocksIt) {
  const std::jthread thread = Blocked(id_);
  const auto frames = AwaitStackOf(id_);
  EXPECT_THAT(frames, Contains(HasSubstr("lastcall::BlockedInAFunctionWithAName(")));
  EXPECT_THAT(frames, Contains(HasSubstr(" in " + std::string(program_invocation_short_name))));
  // Innermost first: the wait is above the function that waits.
  const auto at = [&](const char* words) {
    return std::find_if(frames.begin(), frames.end(), [&](const std::string& frame) {
      return frame.find(words) != std::string::npos;
    });
  };
  EXPECT_LT(at("Latch::WaitUntil"), at("BlockedInAFunctionWithAName"));
  release_.Set();
}

TEST_F(StackTest, ABusyThreadIsInTheFunctionThatKeepsItBusy) {
  const std::jthread thread([&] { BusyInAFunctionWithAName(release_, id_); });
  while (id_ == 0) std::this_thread::yield();
  EXPECT_THAT(AwaitStackOf(id_), Contains(HasSubstr("BusyInAFunctionWithAName")));
  release_.Set();
}

TEST_F(BlockedStackTest, AskingAgainAnswersAgain) {
  const std::jthread thread = Blocked(id_);
  for (int i = 0; i < 50; ++i) {
    EXPECT_THAT(AwaitStackOf(id_), Contains(HasSubstr("BlockedInAFunctionWithAName")));
  }
  release_.Set();
}

TEST_F(StackTest, AThreadThatIsGoneHasNone) {
  std::thread([&] { id_ = gettid(); }).join();
  EXPECT_THAT(StackOf(id_), IsEmpty());
  EXPECT_THAT(StackOf(0), IsEmpty());
}

TEST_F(BlockedStackTest, AThreadThatDoesNotAnswerHasNoneAndTheNextOneDoes) {
  const std::jthread deaf = Deaf(id_);
  std::atomic<pid_t> other{0};
  const std::jthread thread = Blocked(other);
  for (int i = 0; i < 2; ++i) {
    EXPECT_THAT(StackOf(id_), IsEmpty());
    EXPECT_THAT(AwaitStackOf(other), Contains(HasSubstr("BlockedInAFunctionWithAName")));
  }
  release_.Set();
}

TEST_F(BlockedStackTest, AnAnswerThatComesTooLateIsNotTakenForTheNextOne) {
  std::atomic<pid_t> silent{0}, other{0};
  const std::jthread slow = Blocked(id_), deaf = Deaf(silent), thread = Blocked(other);
  is_slow = false;
  slow_to_answer = id_.load();
  while (!is_slow) EXPECT_THAT(StackOf(id_), IsEmpty());
  EXPECT_THAT(AwaitStackOf(other), Contains(HasSubstr("BlockedInAFunctionWithAName")));
  slow_to_answer = 0;
  AwaitAsleep(id_);  // it has answered, and blocks as before
  EXPECT_THAT(StackOf(silent), IsEmpty());
  EXPECT_THAT(AwaitStackOf(id_), Contains(HasSubstr("BlockedInAFunctionWithAName")));
  release_.Set();
}

TEST_F(BlockedStackTest, AThreadThatWasAskedGoesOnWithItsSystemCall) {
  int ends[2];
  ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
  const UniqueFd read_end(ends[0]), write_end(ends[1]);
  std::atomic<ssize_t> size{-2};
  std::jthread thread([&] {
    id_ = gettid();
    char byte;
    size = read(read_end.get(), &byte, 1);
  });
  AwaitAsleep(id_);
  EXPECT_FALSE(AwaitStackOf(id_).empty());
  EXPECT_EQ(write(write_end.get(), "x", 1), 1);
  thread.join();
  EXPECT_EQ(size, 1);
}

TEST_F(BlockedStackTest, AllStacksNamesEveryThreadButTheCaller) {
  std::atomic<pid_t> other{0};
  const std::jthread one = Blocked(id_, "first"), two = Blocked(other, "second");
  bool saw_first = false, saw_second = false;
  const auto until = std::chrono::steady_clock::now() + 10s;
  while (!(saw_first && saw_second) && std::chrono::steady_clock::now() < until) {
    for (const ThreadStack& stack : AllStacks()) {
      EXPECT_NE(stack.id, gettid());
      saw_first |= stack.id == id_ && stack.name == "first" && !stack.frames.empty();
      saw_second |= stack.id == other && stack.name == "second" && !stack.frames.empty();
    }
  }
  EXPECT_TRUE(saw_first);
  EXPECT_TRUE(saw_second);
  release_.Set();
}

TEST(SymbolNameTest, NamesFunctionsOfThisProgramOfLibrariesAndOfNobody) {
  const auto inside = [](auto* function) {
    return reinterpret_cast<void*>(reinterpret_cast<char*>(function) + 1);
  };
  EXPECT_THAT(SymbolName(inside(&BlockedInAFunctionWithAName)),
              HasSubstr("lastcall::BlockedInAFunctionWithAName("));
  EXPECT_THAT(SymbolName(inside(&BlockedInAFunctionWithAName)),
              HasSubstr("+0x1 in " + std::string(program_invocation_short_name)));
  EXPECT_THAT(SymbolName(reinterpret_cast<void*>(0x10)), testing::Eq("0x10"));
}

}  // namespace
}  // namespace lastcall
