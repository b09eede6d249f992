#include "lastcall/rpc/own_threads.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include <lastcall/event/latch.h>

#include "no_more.h"
#include "suspended_thread.h"

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

TEST(OwnThreadsTest, WhoIsInTheMiddleOfSomethingIsWaitedFor) {
  SuspendedThread suspended;
  OwnThreads threads;
  threads.Begin();
  for (int i = 0; i < 100 * OwnThreads::kRounds; ++i) EXPECT_FALSE(threads.Rested());
  suspended.Resume();
  AwaitRest(threads);
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
