// Callbacks: told once, told late, told elsewhere, taken back at any moment.
#include "lastcall/event/notices.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <barrier>
#include <deque>
#include <memory>
#include <optional>
#include <stdexcept>
#include <thread>
#include <vector>

#include "lastcall/event/latch.h"

namespace lastcall {
namespace {

// An executor that keeps what it is given until somebody runs it.
class Queue {
 public:
  Executor executor() {
    return [this](Callback function) { functions_.push_back(std::move(function)); };
  }
  size_t size() const { return functions_.size(); }
  void RunAll() {
    while (!functions_.empty()) RunOne();
  }
  void RunOne() {
    const Callback function = std::move(functions_.front());
    functions_.pop_front();
    function();
  }

 private:
  std::deque<Callback> functions_;
};

TEST(NoticesTest, HappenTellsEverybodyOnceAndLateOnesAtOnce) {
  Notices notices;
  int told = 0;
  const Subscription early = notices.Subscribe(nullptr, [&] { ++told; });
  EXPECT_EQ(told, 0);
  notices.NotifyLast();
  EXPECT_EQ(told, 1);
  const Subscription late = notices.Subscribe(nullptr, [&] { ++told; });
  EXPECT_EQ(told, 2);
  notices.NotifyLast();
  EXPECT_EQ(told, 2);
}

TEST(NoticesTest, TellTellsEachTime) {
  Notices notices;
  int told = 0;
  Subscription subscription = notices.Subscribe(nullptr, [&] { ++told; });
  notices.Notify();
  notices.Notify();
  EXPECT_EQ(told, 2);
  subscription.Reset();
  notices.Notify();
  EXPECT_EQ(told, 2);
}

TEST(NoticesTest, WhoHasGoneIsNotTold) {
  Notices notices;
  int told = 0;
  {
    const Subscription gone = notices.Subscribe(nullptr, [&] { ++told; });
  }
  Subscription other = notices.Subscribe(nullptr, [&] { ++told; });
  other = Subscription();
  notices.NotifyLast();
  EXPECT_EQ(told, 0);
}

TEST(NoticesTest, AnExecutorRunsItWhereItLikes) {
  Queue queue;
  Notices notices;
  int told = 0;
  const Subscription first = notices.Subscribe(queue.executor(), [&] { ++told; });
  notices.NotifyLast();
  const Subscription late = notices.Subscribe(queue.executor(), [&] { ++told; });
  EXPECT_EQ(told, 0);
  EXPECT_EQ(queue.size(), 2u);
  queue.RunAll();
  EXPECT_EQ(told, 2);
}

TEST(NoticesTest, WhatAnExecutorStillHoldsDoesNotRunAfterItsSubscriptionHasGone) {
  Queue queue;
  Notices notices;
  int told = 0;
  Subscription subscription = notices.Subscribe(queue.executor(), [&] { ++told; });
  notices.NotifyLast();
  subscription.Reset();
  queue.RunAll();
  EXPECT_EQ(told, 0);
}

TEST(NoticesTest, SubscriptionsMayOutliveTheNotices) {
  std::optional<Notices> notices(std::in_place);
  Subscription subscription = notices->Subscribe(nullptr, [] {});
  notices.reset();
  subscription.Reset();
}

TEST(NoticesTest, ACallbackMayEndItselfAndStillUseWhatItCaptured) {
  Notices notices;
  Subscription subscription;
  auto word = std::make_shared<int>(7);
  const std::weak_ptr<int> lives = word;
  int seen = 0;
  subscription = notices.Subscribe(nullptr, [&subscription, &seen, word = std::move(word)] {
    subscription.Reset();
    seen = *word;
  });
  notices.NotifyLast();
  EXPECT_EQ(seen, 7);
  EXPECT_TRUE(lives.expired());
}

TEST(NoticesTest, ACallbackMayEndOthersSubscribeAndTell) {
  Notices notices;
  std::vector<Subscription> inside;
  int told = 0, never = 0;
  Subscription other;
  const Subscription first = notices.Subscribe(nullptr, [&] {
    other.Reset();
    inside.push_back(notices.Subscribe(nullptr, [&] { ++told; }));
    notices.NotifyLast();
  });
  other = notices.Subscribe(nullptr, [&] { ++never; });
  notices.NotifyLast();
  EXPECT_EQ(told, 1);
  EXPECT_EQ(never, 0);
}

TEST(NoticesTest, ToldAgainWhileItRunsItRunsAgainAfterwards) {
  Notices notices;
  int told = 0;
  const Subscription subscription = notices.Subscribe(nullptr, [&] {
    if (++told > 1) return;
    notices.Notify();
    notices.Notify();
    EXPECT_EQ(told, 1) << "never inside itself";
  });
  notices.Notify();
  EXPECT_EQ(told, 2);
}

TEST(NoticesTest, ResetWaitsForACallbackThatRunsElsewhere) {
  Notices notices;
  Latch begun, release;
  std::atomic<bool> returned{false};
  Subscription subscription = notices.Subscribe(nullptr, [&] {
    begun.Set();
    release.Wait();
    returned = true;
  });
  std::jthread teller([&] { notices.NotifyLast(); });
  begun.Wait();
  std::jthread releaser([&] { release.Set(); });
  subscription.Reset();
  EXPECT_TRUE(returned);
}

TEST(NoticesTest, ACallbackThatThrewInItsExecutorIsNotRunningAnyMore) {
  Queue queue;
  Notices notices;
  int told = 0;
  Subscription subscription = notices.Subscribe(queue.executor(), [&] {
    ++told;
    throw std::runtime_error("oh");
  });
  for (int i = 1; i <= 2; ++i) {
    notices.Notify();
    std::jthread([&] { EXPECT_THROW(queue.RunOne(), std::runtime_error); }).join();
    EXPECT_EQ(told, i);
  }
  subscription.Reset();  // does not wait for ever
}

// The same when the subscription ends while it runs, and somebody waits for that.
TEST(NoticesTest, ResetIsReleasedByACallbackThatThrows) {
  Queue queue;
  Notices notices;
  Latch begun, release;
  Subscription subscription = notices.Subscribe(queue.executor(), [&] {
    begun.Set();
    release.Wait();
    throw std::runtime_error("oh");
  });
  notices.NotifyLast();
  std::jthread loop([&] { EXPECT_THROW(queue.RunOne(), std::runtime_error); });
  begun.Wait();
  std::jthread releaser([&] { release.Set(); });
  subscription.Reset();
}

// As one of a pool that is closed.
TEST(NoticesTest, AnExecutorThatThrowsKeepsNobodyElseFromBeingTold) {
  Notices notices;
  const Executor closed = [](const Callback&) { throw std::runtime_error("closed"); };
  const Executor odd = [](const Callback&) { throw 7; };
  int told = 0;
  Subscription first = notices.Subscribe(closed, [&] { ++told; });
  const Subscription second = notices.Subscribe(odd, [&] { ++told; });
  const Subscription third = notices.Subscribe(nullptr, [&] { ++told; });
  notices.Notify();
  EXPECT_EQ(told, 1);
  notices.NotifyLast();
  EXPECT_EQ(told, 2);
  const Subscription late = notices.Subscribe(closed, [&] { ++told; });
  EXPECT_EQ(told, 2);
  first.Reset();  // does not wait for what has gone
}

TEST(NoticesTest, WhoComesAfterItHappenedElsewhereIsToldAtOnceAndOnce) {
  Notices notices;
  int early = 0, late = 0;
  const Subscription first = notices.Subscribe(nullptr, [&] { ++early; });
  notices.NotifyExecutors();
  const Subscription second = notices.Subscribe(nullptr, [&] { ++late; });
  EXPECT_EQ(early, 0);
  EXPECT_EQ(late, 1);
  notices.NotifyLast();
  EXPECT_EQ(early, 1);
  EXPECT_EQ(late, 1);
}

// The thread that runs it has stayed in the parent, and so has whoever held a lock.
TEST(NoticesForkTest, InAChildNobodyWaitsForACallbackThatRan) {
  Notices notices;
  Latch begun, release;
  Subscription subscription = notices.Subscribe(nullptr, [&] {
    begun.Set();
    release.Wait();
  });
  std::jthread teller([&] { notices.NotifyLast(); });
  begun.Wait();
  const pid_t child = fork();
  if (child == 0) {
    alarm(5);  // a hang is a failure
    subscription.Reset();
    _exit(0);
  }
  release.Set();
  int status = -1;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

TEST(NoticesDeathTest, AnEmptyCallbackIsRefusedWhereItIsSubscribed) {
  testing::GTEST_FLAG(death_test_style) = "threadsafe";
  Notices notices;
  EXPECT_DEATH((void)notices.Subscribe(nullptr, nullptr), "an empty callback was subscribed");
  notices.NotifyLast();
  EXPECT_DEATH((void)notices.Subscribe(nullptr, nullptr), "an empty callback was subscribed");
}

// The callback of one thread takes a lock that another holds while it subscribes: nothing of ours
// is held meanwhile, so nobody waits for ever.
TEST(NoticesTest, NoLockIsHeldWhileCallbacksRun) {
  Notices notices;
  std::barrier inside(2);
  const Subscription first = notices.Subscribe(nullptr, [&] {
    inside.arrive_and_wait();  // the other thread is between its calls
    inside.arrive_and_wait();  // and has subscribed and gone
  });
  std::jthread teller([&] { notices.Notify(); });
  inside.arrive_and_wait();
  notices.Subscribe(nullptr, [] {}).Reset();
  inside.arrive_and_wait();
}

// The race of Reset with NotifyLast: told or not told, never afterwards. Runs until both were seen.
TEST(NoticesTest, ResetDuringHappenHasTwoOutcomes) {
  int told_rounds = 0, missed_rounds = 0;
  for (int round = 0; (told_rounds == 0 || missed_rounds == 0 || round < 500) && round < 100'000;
       ++round) {
    Notices notices;
    // Not atomic on purpose: ThreadSanitizer sees a callback that runs after Reset.
    auto told = std::make_unique<bool>(false);
    Subscription subscription = notices.Subscribe(nullptr, [&] { *told = true; });
    std::barrier start(2);
    std::jthread teller([&] {
      start.arrive_and_wait();
      notices.NotifyLast();
    });
    start.arrive_and_wait();
    for (int i = 0; i < round % 64; ++i) std::atomic_signal_fence(std::memory_order_seq_cst);
    subscription.Reset();
    ++(*told ? told_rounds : missed_rounds);
    told.reset();
  }
  EXPECT_GT(told_rounds, 0);
  EXPECT_GT(missed_rounds, 0);
}

// The race of Subscribe with NotifyLast: told by it, or late; always once.
TEST(NoticesTest, SubscribeDuringHappenIsToldOnce) {
  int by_happen = 0, late = 0;
  for (int round = 0; (by_happen == 0 || late == 0 || round < 500) && round < 100'000; ++round) {
    Notices notices;
    std::atomic<int> told{0};
    std::thread::id where;
    std::barrier start(2);
    std::thread teller([&] {
      start.arrive_and_wait();
      notices.NotifyLast();
    });
    start.arrive_and_wait();
    const Subscription subscription = notices.Subscribe(nullptr, [&] {
      ++told;
      where = std::this_thread::get_id();
    });
    teller.join();
    ASSERT_EQ(told, 1);
    ++(where == std::this_thread::get_id() ? late : by_happen);
  }
  EXPECT_GT(by_happen, 0);
  EXPECT_GT(late, 0);
}

}  // namespace
}  // namespace lastcall
