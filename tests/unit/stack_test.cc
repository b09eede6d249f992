// Stacks by the names of functions, for the receipt and the dump.
#include "lastcall/host/stack.h"

#include <gmock/gmock.h>
#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <thread>

#include "await_asleep.h"
#include "lastcall/event/latch.h"

namespace lastcall {

// Not in the anonymous namespace, not inlined, and with something to do afterwards: so that it has
// a frame with a name.
[[gnu::noinline]] void BlockedInAFunctionWithAName(const Latch& release, std::atomic<pid_t>& id) {
  id = gettid();
  release.Wait();
  asm volatile("");
}

namespace {

using namespace std::chrono_literals;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;

class StackTest : public testing::Test {
 protected:
  // A thread that blocks in a function with a name until the test ends.
  std::jthread Blocked(std::atomic<pid_t>& id, const char* name = "blocked") {
    std::jthread thread([this, &id, name] {
      pthread_setname_np(pthread_self(), name);
      BlockedInAFunctionWithAName(release_, id);
    });
    AwaitAsleep(id);
    return thread;
  }

  Latch release_;
  std::atomic<pid_t> id_{0};
};

TEST_F(StackTest, ABlockedThreadIsInTheFunctionThatBlocksIt) {
#ifdef __SANITIZE_THREAD__
  GTEST_SKIP() << "this sanitizer keeps frame pointers, and signals back in a system call";
#endif
  const std::jthread thread = Blocked(id_);
  const auto frames = StackOf(id_);
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

TEST_F(StackTest, AThreadThatHasNoneSaysWhy) {
  std::thread([&] { id_ = gettid(); }).join();
  std::vector<std::string> frames = StackOf(id_);
  while (frames.size() != 1) frames = StackOf(id_);  // the kernel's end of it comes later
  EXPECT_THAT(frames, ElementsAre("(the thread has ended)"));
}

TEST_F(StackTest, AllStacksNamesEveryThreadButTheCaller) {
  std::atomic<pid_t> other{0};
  const std::jthread one = Blocked(id_, "first"), two = Blocked(other, "second");
  bool saw_first = false, saw_second = false;
  for (const ThreadStack& stack : AllStacks()) {
    EXPECT_NE(stack.id, gettid());
    saw_first |= stack.id == id_ && stack.name == "first" && !stack.frames.empty();
    saw_second |= stack.id == other && stack.name == "second" && !stack.frames.empty();
  }
  EXPECT_TRUE(saw_first);
  EXPECT_TRUE(saw_second);
  release_.Set();
}

}  // namespace
}  // namespace lastcall
