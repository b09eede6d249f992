#include "lastcall/rpc/own_threads.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <iterator>
#include <thread>

#include <lastcall/event/latch.h>

#include "no_more.h"

namespace lastcall {
namespace {

// As long as the test takes.
void AwaitRest(OwnThreads& threads) {
  while (!threads.Rested()) {
    ASSERT_TRUE(threads.known());
    std::this_thread::yield();
  }
}

TEST(OwnThreadsTest, WhoSleepsHasNothingInHand) {
  Latch over;
  const std::jthread sleeper([&] { over.Wait(); });
  OwnThreads threads;
  threads.Begin();
  AwaitRest(threads);
  over.Set();
}

TEST(OwnThreadsTest, WhoNeverSleepsHasHadItsTurn) {
  std::atomic<bool> over{false};
  const std::jthread spinner([&] {
    while (!over) {
    }
  });
  OwnThreads threads;
  threads.Begin();
  AwaitRest(threads);
  over = true;
}

// As long as its child lives, a thread that waits for it as vfork(2) does is neither asleep nor does
// it run, like one that the scheduler does not let.
TEST(OwnThreadsTest, WhoIsInTheMiddleOfSomethingIsWaitedFor) {
  int gate[2];
  ASSERT_EQ(pipe(gate), 0);
  std::atomic<bool> begun{false};
  std::jthread parent([&] {
    alignas(16) static char stack[1 << 16];
    const auto child = [](void* end) {
      char ignored;
      return static_cast<int>(read(*static_cast<int*>(end), &ignored, 1));
    };
    begun = true;
    const pid_t pid = clone(child, std::end(stack), CLONE_VFORK | SIGCHLD, &gate[0]);
    waitpid(pid, nullptr, 0);
  });
  while (!begun) std::this_thread::yield();
  OwnThreads threads;
  // Until it is where it is to be.
  for (int unrested = 0; unrested < 100; ++unrested) {
    threads.Begin();
    for (int i = 0; i < 2 * OwnThreads::kRounds; ++i) {
      if (threads.Rested()) unrested = 0;
    }
  }
  EXPECT_FALSE(threads.Rested());
  ASSERT_EQ(write(gate[1], "", 1), 1);
  AwaitRest(threads);
  parent.join();
  close(gate[0]);
  close(gate[1]);
}

TEST(OwnThreadsTest, NothingIsKnownWithoutADescriptor) {
  OwnThreads threads;
  const NoMoreDescriptors none;
  threads.Begin();
  EXPECT_FALSE(threads.known());
  EXPECT_FALSE(threads.Rested());
}

}  // namespace
}  // namespace lastcall
