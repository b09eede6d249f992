// Inbox: many post, one takes, in order. Gate: counts what is in flight and tells when nothing is.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <lastcall/event/gate.h>
#include <lastcall/event/inbox.h>

#include <barrier>
#include <memory>
#include <thread>
#include <vector>

#include "steady_now.h"

namespace lastcall {
namespace {

using namespace std::chrono_literals;

TEST(InboxTest, EventsAreTakenInTheOrderTheyWerePosted) {
  Inbox<int> inbox;
  for (int i = 0; i < 3; ++i) inbox.Post(i);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(inbox.TakeUntil(kNever), i);
}

TEST(InboxTest, EmptyInboxEndsAtTheInstant) {
  Inbox<int> inbox;
  EXPECT_EQ(inbox.TakeUntil(Instant()), std::nullopt);
  const Instant soon = Now() + 5ms;
  EXPECT_EQ(inbox.TakeUntil(soon), std::nullopt);
  EXPECT_GE(Now(), soon);
}

TEST(InboxTest, EventThatIsThereIsTakenEvenWhenLate) {
  Inbox<int> inbox;
  inbox.Post(1);
  EXPECT_EQ(inbox.TakeUntil(Instant()), 1);
}

TEST(InboxTest, EventsMayBeMovedOnly) {
  Inbox<std::unique_ptr<int>> inbox;
  inbox.Post(std::make_unique<int>(7));
  EXPECT_EQ(**inbox.TakeUntil(kNever), 7);
}

TEST(InboxTest, PostWakesTheReader) {
  for (int round = 0; round < 200; ++round) {
    Inbox<int> inbox;
    std::barrier start(2);
    std::thread reader([&] {
      start.arrive_and_wait();
      EXPECT_EQ(inbox.TakeUntil(round % 2 == 0 ? kNever : Now() + 1h), round);
    });
    start.arrive_and_wait();
    inbox.Post(round);
    reader.join();
  }
}

TEST(InboxTest, EveryThreadsEventsKeepTheirOrderAndNoneIsLost) {
  constexpr int kThreads = 4, kEvents = 2000;
  struct Posted {
    int thread;
    int number;
  };
  Inbox<Posted> inbox;
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&inbox, i] {
      for (int n = 0; n < kEvents; ++n) inbox.Post({i, n});
    });
  }
  std::vector<int> next(kThreads, 0);
  for (int i = 0; i < kThreads * kEvents; ++i) {
    const auto event = inbox.TakeUntil(Now() + 1h);
    ASSERT_TRUE(event);
    ASSERT_EQ(event->number, next[event->thread]++);
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(inbox.TakeUntil(Instant()), std::nullopt);
}

// Notified under the lock, as the header says: the reader may destroy the inbox at once.
TEST(InboxTest, ReaderMayDestroyItOnceItHasTheEvent) {
  for (int round = 0; round < 200; ++round) {
    auto inbox = std::make_unique<Inbox<int>>();
    std::thread poster([target = inbox.get()] { target->Post(1); });
    EXPECT_EQ(inbox->TakeUntil(kNever), 1);
    inbox.reset();
    poster.join();
  }
}

TEST(GateTest, CountsWhatIsInFlightAndWhatEverEntered) {
  Gate gate;
  EXPECT_EQ(gate.in_flight(), 0);
  gate.Enter();
  gate.Enter();
  EXPECT_EQ(gate.in_flight(), 2);
  gate.Leave();
  EXPECT_EQ(gate.in_flight(), 1);
  EXPECT_EQ(gate.entered(), 2u);
  gate.Leave();
  EXPECT_EQ(gate.in_flight(), 0);
  EXPECT_EQ(gate.entered(), 2u);
}

TEST(GateTest, TellsOnlyWhoWatches) {
  int emptied = 0;
  Gate gate([&] { ++emptied; });
  gate.Enter();
  gate.Leave();
  EXPECT_EQ(emptied, 0);
  gate.Watch();
  EXPECT_EQ(emptied, 0) << "the caller of Watch reads in_flight() by itself";
  gate.Enter();
  gate.Enter();
  gate.Leave();
  EXPECT_EQ(emptied, 0);
  gate.Leave();
  EXPECT_EQ(emptied, 1);
  gate.Enter();
  gate.Leave();
  EXPECT_EQ(emptied, 2) << "each time";
}

TEST(GateTest, WithoutACallbackWatchingIsHarmless) {
  Gate gate;
  gate.Watch();
  gate.Enter();
  gate.Leave();
  EXPECT_EQ(gate.in_flight(), 0);
}

// The race of the last Leave with Watch: one of the two must see that nothing is left. Runs until
// both ways were seen.
TEST(GateTest, LastLeaveIsSeenByTheCallbackOrByWhoWatches) {
  int by_callback = 0, by_reading = 0;
  for (int round = 0; (by_callback == 0 || by_reading == 0 || round < 500) && round < 100000;
       ++round) {
    std::atomic<bool> told{false};
    Gate gate([&] { told = true; });
    gate.Enter();
    std::barrier start(2);
    std::thread last([&] {
      start.arrive_and_wait();
      gate.Leave();
    });
    start.arrive_and_wait();
    gate.Watch();
    const bool empty = gate.in_flight() == 0;
    last.join();
    ASSERT_TRUE(told || empty);
    ++(empty ? by_reading : by_callback);
  }
  EXPECT_GT(by_callback, 0);
  EXPECT_GT(by_reading, 0);
}

}  // namespace
}  // namespace lastcall
