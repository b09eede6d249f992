// OffloadThreads: what may wait for a thread is bounded, and threads that rest are used again. The
// rest is in loop_offload_test.cc and plugin_offload_test.cc.
#include <gtest/gtest.h>
#include <lastcall/event/latch.h>
#include <lastcall/event/offload_threads.h>

#include <memory>
#include <thread>

namespace lastcall {
namespace {

class OffloadThreadsTest : public ::testing::Test {
 protected:
  // What hangs in a test is let go at its end.
  ~OffloadThreadsTest() override {
    gate_->Set();
    if (threads_ != nullptr) threads_->WaitIdle(kNever);
  }
  void Make(const OffloadThreads::Limits& limits) {
    threads_ = std::make_unique<OffloadThreads>(limits);
  }
  Result<std::shared_ptr<OffloadThreads::Item>> BeginHanging() {
    return threads_->Begin(
        [gate = gate_, began = began_](const std::stop_token&) {
          began->Set();
          gate->Wait();
        },
        [](const Error*) {});
  }
  // In which thread it ran.
  std::thread::id RunOne() {
    std::thread::id id;
    const auto begun = threads_->Begin(
        [&](const std::stop_token&) { id = std::this_thread::get_id(); }, [](const Error*) {});
    EXPECT_TRUE(begun);
    EXPECT_TRUE(threads_->WaitIdle(kNever));
    return id;
  }

  const std::shared_ptr<Latch> gate_ = std::make_shared<Latch>();
  const std::shared_ptr<Latch> began_ = std::make_shared<Latch>();
  std::unique_ptr<OffloadThreads> threads_;
};

TEST_F(OffloadThreadsTest, WhatFindsNoRoomInTheQueueIsRefused) {
  Make({.threads = 1, .queue = 2});
  ASSERT_TRUE(BeginHanging());
  began_->Wait();
  ASSERT_TRUE(BeginHanging());
  ASSERT_TRUE(BeginHanging());
  const auto refused = BeginHanging();
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kResourceExhausted);
  EXPECT_EQ(threads_->counts().queued, 2u);
  EXPECT_EQ(threads_->counts().most_queued, 2u);
}

TEST_F(OffloadThreadsTest, WhatIsAbandonedInTheQueueLeavesItsRoom) {
  Make({.threads = 1, .queue = 1});
  ASSERT_TRUE(BeginHanging());
  began_->Wait();
  const auto queued = BeginHanging();
  ASSERT_TRUE(queued);
  EXPECT_FALSE(BeginHanging());
  threads_->Abandon(**queued);
  EXPECT_EQ(threads_->counts().queued, 0u);
  EXPECT_EQ(threads_->counts().abandoned, 0u);
  EXPECT_TRUE(BeginHanging());
}

TEST_F(OffloadThreadsTest, WithoutAQueueAThreadIsEnough) {
  Make({.threads = 2, .queue = 0});
  EXPECT_TRUE(BeginHanging());
  EXPECT_TRUE(BeginHanging());
  EXPECT_FALSE(BeginHanging());
  EXPECT_EQ(threads_->counts().most_queued, 0u);
}

TEST_F(OffloadThreadsTest, AThreadThatRestsIsUsedAgain) {
  Make({.threads = 4, .rest = std::chrono::hours(1)});
  const std::thread::id first = RunOne();
  for (int i = 0; i < 100; ++i) EXPECT_EQ(RunOne(), first);
}

}  // namespace
}  // namespace lastcall
