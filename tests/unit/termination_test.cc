// What any thread may see of the end, and wait for.
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <barrier>
#include <thread>
#include <vector>

#include <lastcall/lifecycle/termination.h>

namespace lastcall {
namespace {

using namespace std::chrono_literals;

constexpr std::array kWaitable{Stage::kDelay, Stage::kGrace, Stage::kCancel, Stage::kStopped};
constexpr Instant kNow{1000s};

bool IsReadable(int fd) {
  pollfd one{fd, POLLIN, 0};
  return poll(&one, 1, 0) == 1 && (one.revents & POLLIN) != 0;
}

TEST(TerminationTest, NothingIsReachedAtFirstButWhatComesBefore) {
  const TerminationSource source;
  const Termination view = source.view();
  EXPECT_TRUE(view.Reached(Stage::kStarting));
  EXPECT_TRUE(view.Reached(Stage::kServing));
  for (const Stage stage : kWaitable) {
    EXPECT_FALSE(view.Reached(stage)) << Name(stage);
    EXPECT_FALSE(IsReadable(view.fd(stage))) << Name(stage);
    EXPECT_EQ(view.instant(stage), kNever) << Name(stage);
  }
}

TEST(TerminationTest, OfNothingIsNeverReached) {
  const Termination nothing;
  EXPECT_FALSE(nothing.Reached(Stage::kDelay));
  EXPECT_FALSE(nothing.WaitUntil(Stage::kStopped, Instant{}));
  EXPECT_EQ(nothing.instant(Stage::kStopped), kNever);
}

TEST(TerminationTest, StagesThatAreJumpedOverAreReachedToo) {
  for (const Stage target : kWaitable) {
    TerminationSource source;
    const Termination view = source.view();
    source.Reach(target, kNow);
    for (const Stage stage : kWaitable) {
      EXPECT_EQ(view.Reached(stage), stage <= target) << Name(target) << ": " << Name(stage);
      EXPECT_EQ(view.instant(stage), stage <= target ? kNow : kNever) << Name(stage);
    }
  }
}

// Whoever is woken by a stage finds every earlier one reached, whichever moment he looks at.
TEST(TerminationTest, StagesAreReachedInOrder) {
  for (int round = 0; round < 200; ++round) {
    TerminationSource source;
    const Termination view = source.view();
    std::barrier start(5);
    std::vector<std::jthread> waiters;
    for (const Stage stage : kWaitable) {
      waiters.emplace_back([&, stage] {
        start.arrive_and_wait();
        view.Wait(stage);
        for (const Stage before : kWaitable) {
          EXPECT_TRUE(before > stage || view.Reached(before)) << Name(before);
        }
      });
    }
    start.arrive_and_wait();
    source.Reach(Stage::kStopped, kNow);
  }
}

TEST(TerminationTest, ADescriptorIsReadableForEverWhoeverReadsIt) {
  TerminationSource source;
  const Termination view = source.view();
  const int early = view.fd(Stage::kGrace);
  EXPECT_FALSE(IsReadable(early));
  source.Reach(Stage::kGrace, kNow);
  EXPECT_EQ(view.fd(Stage::kGrace), early);
  for (const int fd : {early, view.fd(Stage::kDelay)}) {  // asked for before and after
    for (int i = 0; i < 3; ++i) {
      char byte;
      EXPECT_TRUE(IsReadable(fd));
      EXPECT_EQ(read(fd, &byte, 1), 0);
    }
  }
  EXPECT_FALSE(IsReadable(view.fd(Stage::kCancel)));
}

TEST(TerminationTest, InstantsAreThoseOfThePlanAndOnlyMoveForward) {
  TerminationSource source;
  const Termination view = source.view();
  source.SetPlan({kNow + 5s, kNow + 25s, kNow + 28s});
  EXPECT_EQ(view.instant(Stage::kGrace), kNow + 5s);
  EXPECT_EQ(view.instant(Stage::kCancel), kNow + 25s);
  EXPECT_EQ(view.instant(Stage::kStopped), kNow + 28s);
  source.SetPlan({kNow + 1s, kNow + 30s, kNow + 28s});
  EXPECT_EQ(view.instant(Stage::kGrace), kNow + 1s);
  EXPECT_EQ(view.instant(Stage::kCancel), kNow + 25s);
  source.SetPlan({});
  EXPECT_EQ(view.instant(Stage::kStopped), kNow + 28s);
}

TEST(TerminationTest, AReachedStageKeepsTheInstantAtWhichItBegan) {
  TerminationSource source;
  const Termination view = source.view();
  source.Reach(Stage::kDelay, kNow);
  source.SetPlan({kNow + 5s, kNow + 25s, kNow + 28s});
  source.Reach(Stage::kGrace, kNow + 2s);
  source.SetPlan({kNow + 1s, kNow + 22s, kNow + 25s});
  source.Reach(Stage::kGrace, kNow + 9s);
  EXPECT_EQ(view.instant(Stage::kDelay), kNow);
  EXPECT_EQ(view.instant(Stage::kGrace), kNow + 2s);
  EXPECT_EQ(view.instant(Stage::kCancel), kNow + 22s);
}

TEST(TerminationTest, AStageThatBeginsLateKeepsItsPlannedInstant) {
  TerminationSource source;
  const Termination view = source.view();
  source.SetPlan({kNow + 5s, kNow + 25s, kNow + 28s});
  source.Reach(Stage::kGrace, kNow + 7s);
  EXPECT_EQ(view.instant(Stage::kGrace), kNow + 5s);
}

TEST(TerminationTest, WhoeverSeesAStageReachedIsToldOfItAtOnce) {
  int early = 0, late = 0;
  for (int round = 0; (early == 0 || late == 0 || round < 500) && round < 100'000; ++round) {
    TerminationSource source;
    const Termination view = source.view();
    std::barrier start(2);
    std::thread host([&] {
      start.arrive_and_wait();
      source.Announce(Stage::kDelay, {}, kNow);
      source.Reach(Stage::kDelay, kNow);
    });
    start.arrive_and_wait();
    for (int n = 0; n < round % 64; ++n) std::atomic_signal_fence(std::memory_order_seq_cst);
    const bool reached = view.Reached(Stage::kDelay);
    std::atomic<int> told{0};
    const auto subscription = view.OnReached(Stage::kDelay, [&] { ++told; });
    EXPECT_TRUE(!reached || (told == 1 && view.stop_token(Stage::kDelay).stop_requested()));
    host.join();
    ASSERT_EQ(told, 1);
    ++(reached ? late : early);
  }
  EXPECT_GT(early, 0);
  EXPECT_GT(late, 0);
}

TEST(TerminationTest, ViewsOutliveTheirSource) {
  std::optional<TerminationSource> source(std::in_place);
  const Termination reached = source->view();
  const int fd = reached.fd(Stage::kStopped);
  source->Reach(Stage::kStopped, kNow);
  source.reset();
  const Termination copy = reached;
  EXPECT_TRUE(copy.Reached(Stage::kStopped));
  EXPECT_TRUE(IsReadable(fd));
  copy.Wait();

  source.emplace();
  const Termination never = source->view();
  source.reset();
  EXPECT_FALSE(never.WaitUntil(Stage::kDelay, Instant{}));
}

TEST(TerminationTest, WaitingForAnInstantThatHasPassedTellsHowItIs) {
  TerminationSource source;
  const Termination view = source.view();
  const Instant passed = std::chrono::steady_clock::now();
  EXPECT_FALSE(view.WaitUntil(Stage::kDelay, passed));
  EXPECT_FALSE(view.WaitUntil(Stage::kDelay, Instant{}));
  EXPECT_FALSE(view.WaitFor(Stage::kDelay, 0s));
  EXPECT_FALSE(view.WaitFor(Stage::kDelay, -1s));
  EXPECT_FALSE(view.WaitFor(Stage::kDelay, Duration::min()));
  source.Reach(Stage::kDelay, kNow);
  EXPECT_TRUE(view.WaitUntil(Stage::kDelay, passed));
  EXPECT_TRUE(view.WaitFor(Stage::kDelay, 0s));
  EXPECT_TRUE(view.WaitFor(Stage::kDelay, kForever));
}

TEST(TerminationTest, StopTokensStopWithTheirStage) {
  std::optional<TerminationSource> source(std::in_place);
  const std::stop_token grace = source->view().stop_token(Stage::kGrace);
  const std::stop_token cancel = source->view().stop_token(Stage::kCancel);
  int stopped = 0;
  const std::stop_callback callback(grace, [&] { ++stopped; });
  source->Reach(Stage::kDelay, kNow);
  EXPECT_FALSE(grace.stop_requested());
  source->Reach(Stage::kGrace, kNow);
  EXPECT_TRUE(grace.stop_requested());
  EXPECT_EQ(stopped, 1);
  EXPECT_TRUE(source->view().stop_token(Stage::kGrace).stop_requested());
  source.reset();
  EXPECT_FALSE(cancel.stop_requested());
}

TEST(TerminationTest, CallbacksAreToldInTheOrderOfTheStages) {
  TerminationSource source;
  const Termination view = source.view();
  std::vector<Stage> told;
  std::vector<Subscription> subscriptions;
  for (const Stage stage : {Stage::kStopped, Stage::kGrace, Stage::kDelay, Stage::kCancel}) {
    subscriptions.push_back(view.OnReached(stage, [&told, stage] { told.push_back(stage); }));
  }
  source.Reach(Stage::kGrace, kNow);
  EXPECT_EQ(told, (std::vector{Stage::kDelay, Stage::kGrace}));
  source.Reach(Stage::kStopped, kNow);
  EXPECT_EQ(told, (std::vector{Stage::kDelay, Stage::kGrace, Stage::kCancel, Stage::kStopped}));
  const auto late = view.OnReached(Stage::kDelay, [&] { told.push_back(Stage::kDelay); });
  EXPECT_EQ(told.size(), 5u);
}

TEST(TerminationTest, WhenACallbackRunsItsStageIsReachedInEveryOtherWay) {
  TerminationSource source;
  const Termination view = source.view();
  const int fd = view.fd(Stage::kGrace);
  bool all = false;
  const auto subscription = view.OnReached(Stage::kGrace, [&] {
    all = view.Reached(Stage::kGrace) && view.stop_token(Stage::kGrace).stop_requested() &&
          IsReadable(fd) && view.instant(Stage::kGrace) == kNow;
  });
  source.Reach(Stage::kGrace, kNow);
  EXPECT_TRUE(all);
}

TEST(TerminationTest, ACallbackMayDropTheSource) {
  auto source = std::make_unique<TerminationSource>();
  const auto subscription = source->view().OnReached(Stage::kDelay, [&] { source.reset(); });
  int later = 0;
  const auto after = source->view().OnReached(Stage::kGrace, [&] { ++later; });
  source->Reach(Stage::kStopped, kNow);
  EXPECT_EQ(later, 1);
}

TEST(TerminationTest, WhatIsAnnouncedWakesThreadsAndExecutorsAtOnceAndTheRestWhenItIsReached) {
  TerminationSource source;
  const Termination view = source.view();
  int reached = 0, moved = 0;
  const auto on_reached = view.OnReached(Stage::kDelay, [&] { ++reached; });
  int elsewhere = 0;
  const Executor here = [](const Callback& callback) { callback(); };
  const auto on_elsewhere = view.OnReached(Stage::kDelay, here, [&] { ++elsewhere; });
  const auto on_moved = view.OnMoved(Stage::kCancel, [&] { ++moved; });
  const int fd = view.fd(Stage::kDelay);
  const std::stop_token token = view.stop_token(Stage::kDelay);
  const Plan plan{kNow + 5s, kNow + 25s, kNow + 28s};
  std::jthread waiter([&] { view.Wait(Stage::kDelay); });
  source.Announce(Stage::kDelay, plan, kNow);
  waiter.join();
  EXPECT_TRUE(IsReadable(fd));
  EXPECT_EQ(view.instant(Stage::kDelay), kNow);
  EXPECT_EQ(view.instant(Stage::kCancel), kNow + 25s);
  EXPECT_FALSE(token.stop_requested());
  EXPECT_EQ(reached + moved, 0);
  EXPECT_EQ(elsewhere, 1);
  const auto late = view.OnReached(Stage::kDelay, here, [&] { ++elsewhere; });
  EXPECT_EQ(elsewhere, 2);
  // Whoever comes late is told at once, in whichever way.
  const auto late_inline = view.OnReached(Stage::kDelay, [&] { ++reached; });
  EXPECT_EQ(reached, 1);
  EXPECT_TRUE(view.stop_token(Stage::kDelay).stop_requested());
  source.SetPlan(plan);
  EXPECT_EQ(moved, 1);
  source.Reach(Stage::kDelay, kNow + 1s);
  EXPECT_EQ(reached, 2);
  EXPECT_EQ(elsewhere, 2);
  EXPECT_TRUE(token.stop_requested());
  EXPECT_EQ(view.instant(Stage::kDelay), kNow) << "as it was announced";
}

TEST(TerminationTest, OnMovedTellsEachTimeAnInstantIsBroughtForward) {
  TerminationSource source;
  const Termination view = source.view();
  std::vector<Instant> seen;
  const auto subscription =
      view.OnMoved(Stage::kCancel, [&] { seen.push_back(view.instant(Stage::kCancel)); });
  source.SetPlan({kNow + 5s, kNow + 25s, kNow + 28s});
  source.SetPlan({kNow + 1s, kNow + 25s, kNow + 28s});  // not of this stage
  source.SetPlan({kNow + 1s, kNow + 30s, kNow + 30s});  // not forward
  source.SetPlan({kNow + 1s, kNow + 10s, kNow + 13s});
  EXPECT_EQ(seen, (std::vector{kNow + 25s, kNow + 10s}));
  source.Reach(Stage::kCancel, kNow + 2s);
  EXPECT_EQ(seen.back(), kNow + 2s);
  source.Reach(Stage::kStopped, kNow + 3s);
  EXPECT_EQ(seen.size(), 3u);
}

TEST(TerminationTest, StartingAndServingNeedNoWait) {
  const Termination view;
  EXPECT_TRUE(view.WaitUntil(Stage::kStarting, Instant{}));
  EXPECT_TRUE(view.WaitUntil(Stage::kServing, Instant{}));
}

TEST(TerminationTest, SixtyFourWaitersWakeUpAndSeeWhatTheHostWrote) {
  TerminationSource source;
  const Termination view = source.view();
  int written = 0;
  constexpr int kWaiters = 64;
  std::barrier started(kWaiters + 1);
  std::atomic<int> awake{0};
  {
    std::vector<std::jthread> waiters;
    for (int i = 0; i < kWaiters; ++i) {
      waiters.emplace_back([&, i] {
        started.arrive_and_wait();
        if (i % 2 == 0) {
          view.Wait(Stage::kCancel);
        } else {
          pollfd one{view.fd(Stage::kCancel), POLLIN, 0};
          EXPECT_EQ(poll(&one, 1, -1), 1);
          EXPECT_TRUE(view.Reached(Stage::kCancel));
        }
        EXPECT_EQ(written, 42);
        ++awake;
      });
    }
    started.arrive_and_wait();
    written = 42;
    source.Reach(Stage::kCancel, kNow);
  }
  EXPECT_EQ(awake, kWaiters);
}

}  // namespace
}  // namespace lastcall
