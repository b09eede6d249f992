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
  source.Reach(Stage::kDelay, kNow);
  EXPECT_TRUE(view.WaitUntil(Stage::kDelay, passed));
  EXPECT_TRUE(view.WaitFor(Stage::kDelay, 0s));
  EXPECT_TRUE(view.WaitFor(Stage::kDelay, kForever));
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
