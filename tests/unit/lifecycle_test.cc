// One life from starting to stopped: the paths, the clock and the records.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include <lastcall/lifecycle/lifecycle.h>

namespace lastcall {

// "delay" and the like in what a failed expectation prints.
void PrintTo(Stage stage, std::ostream* out) { *out << Name(stage); }
void PrintTo(Event event, std::ostream* out) { *out << Name(event); }

namespace {

using namespace std::chrono_literals;
using testing::Test;
using Stages = std::vector<Stage>;

constexpr Budget kLengths{.delay = 5s, .grace = 20s, .cancel = 3s};
constexpr Instant kBegin{1000s};

// A life and its clock. Every step returns the stages that it led to.
class LifecycleTest : public Test {
 protected:
  void Begin(Budget budget) { life_.emplace(budget, now_); }
  void SetUp() override { Begin(kLengths); }

  Stages Happened(Event event) { return Entered(life_->Happened(event, now_)); }
  Stages Ready() { return Happened(Event::kBecameReady); }
  Stages Advance(Duration length) {
    now_ += length;
    return Entered(life_->Advance(now_));
  }
  Stages Request() { return Request(lastcall::Request{}); }
  Stages Request(lastcall::Request request) {
    request.at = now_;
    return Entered(life_->RequestStop(std::move(request), now_, &moved_));
  }
  Stages Skip() { return Request({.skip = true}); }

  // The steps must join: each begins where the one before ended, and the last is the stage now.
  Stages Entered(const Lifecycle::Changes& changes) {
    Stages entered;
    for (const Lifecycle::Change& change : changes) {
      EXPECT_EQ(change.left, stage_);
      EXPECT_EQ(change.at, now_);
      entered.push_back(stage_ = change.entered);
    }
    EXPECT_EQ(life_->stage(), stage_);
    return entered;
  }

  void ExpectRecord(size_t i, Stage stage, Duration planned, Duration took, Event ended_by) {
    ASSERT_GT(life_->records().size(), i);
    const StageRecord& record = life_->records()[i];
    EXPECT_EQ(record.stage, stage);
    EXPECT_EQ(record.planned, planned) << Name(stage);
    EXPECT_EQ(record.took, took) << Name(stage);
    EXPECT_EQ(record.ended_by, ended_by) << Name(stage);
  }

  Instant now_ = kBegin;
  Stage stage_ = Stage::kStarting;
  bool moved_ = false;
  std::optional<Lifecycle> life_;
};

TEST_F(LifecycleTest, WaitsForAnEventWhileNobodyAsksForAStop) {
  EXPECT_EQ(life_->stage(), Stage::kStarting);
  EXPECT_EQ(life_->next_instant(), kNever);
  EXPECT_EQ(Advance(1h), Stages{});
  EXPECT_EQ(Ready(), Stages{Stage::kServing});
  EXPECT_EQ(life_->stage_began(), now_);
  EXPECT_EQ(life_->next_instant(), kNever);
  EXPECT_EQ(Advance(24h), Stages{});
  EXPECT_TRUE(life_->records().empty());
}

TEST_F(LifecycleTest, EveryStageTakesItsWholeLengthWhenNothingEndsIt) {
  Ready();
  EXPECT_EQ(Request(), Stages{Stage::kDelay});
  EXPECT_EQ(life_->next_instant(), kBegin + 5s);
  EXPECT_EQ(Advance(5s - 1ns), Stages{});
  EXPECT_EQ(Advance(1ns), Stages{Stage::kGrace});
  EXPECT_EQ(life_->next_instant(), kBegin + 25s);
  EXPECT_EQ(Advance(20s), Stages{Stage::kCancel});
  EXPECT_EQ(life_->next_instant(), kBegin + 28s);
  EXPECT_EQ(Advance(3s), Stages{Stage::kStopped});
  EXPECT_EQ(life_->next_instant(), kNever);
  ASSERT_EQ(life_->records().size(), 3u);
  ExpectRecord(0, Stage::kDelay, 5s, 5s, Event::kDeadlinePassed);
  ExpectRecord(1, Stage::kGrace, 20s, 20s, Event::kDeadlinePassed);
  ExpectRecord(2, Stage::kCancel, 3s, 3s, Event::kDeadlinePassed);
}

TEST_F(LifecycleTest, StagesThatHaveNothingToDoEndEarlyAndTheNextKeepTheirLengths) {
  Ready();
  Request();
  Advance(1s);
  EXPECT_EQ(Happened(Event::kWentQuiet), Stages{Stage::kGrace});
  EXPECT_EQ(life_->next_instant(), kBegin + 1s + 20s);
  Advance(2s);
  EXPECT_EQ(Happened(Event::kWentIdle), Stages{Stage::kCancel});
  EXPECT_EQ(life_->next_instant(), kBegin + 3s + 3s);
  Advance(10ms);
  EXPECT_EQ(Happened(Event::kCompleted), Stages{Stage::kStopped});
  ExpectRecord(0, Stage::kDelay, 5s, 1s, Event::kWentQuiet);
  ExpectRecord(1, Stage::kGrace, 20s, 2s, Event::kWentIdle);
  ExpectRecord(2, Stage::kCancel, 3s, 10ms, Event::kCompleted);
}

TEST_F(LifecycleTest, WithoutDelayARequestLeadsToGraceAtOnce) {
  Begin({.delay = 0s, .grace = 20s, .cancel = 3s});
  Ready();
  EXPECT_EQ(Request(), (Stages{Stage::kDelay, Stage::kGrace}));
  ExpectRecord(0, Stage::kDelay, 0s, 0s, Event::kDeadlinePassed);
  EXPECT_EQ(life_->next_instant(), kBegin + 20s);
}

TEST_F(LifecycleTest, WithoutAnyLengthARequestLeadsThroughEveryStageAtOnce) {
  Begin({.delay = 0s, .grace = 0s, .cancel = 0s});
  Ready();
  EXPECT_EQ(Request(), (Stages{Stage::kDelay, Stage::kGrace, Stage::kCancel, Stage::kStopped}));
  EXPECT_EQ(life_->records().size(), 3u);
}

// Nobody could say in between that there was nothing to do.
TEST_F(LifecycleTest, WhatIsStuckIsForcedNotAnInstantThatHasPassed) {
  Begin({.delay = 0s, .grace = 0s, .cancel = 0s});
  Ready();
  EXPECT_FALSE(life_->ran_out());
  Request();
  EXPECT_TRUE(life_->ran_out());
  Receipt receipt;
  life_->Complete(receipt);
  EXPECT_EQ(receipt.exit_code, kExitAllFinished);
  receipt.calls_cancelled = 1;
  life_->Complete(receipt);
  EXPECT_EQ(receipt.exit_code, kExitCallsCancelled);
  receipt.stuck.push_back({.name = "pool"});
  life_->Complete(receipt);
  EXPECT_EQ(receipt.exit_code, kExitForced);
}

TEST_F(LifecycleTest, ARequestWhileStartingLeadsToCancelWhichKeepsItsLength) {
  EXPECT_EQ(Request(), Stages{Stage::kCancel});
  EXPECT_TRUE(moved_);
  EXPECT_EQ(life_->next_instant(), kBegin + 3s);
  EXPECT_EQ(Ready(), Stages{});
  Advance(1s);
  EXPECT_EQ(Happened(Event::kCompleted), Stages{Stage::kStopped});
  ASSERT_EQ(life_->records().size(), 1u);
  ExpectRecord(0, Stage::kCancel, 3s, 1s, Event::kCompleted);
}

TEST_F(LifecycleTest, FailureEndsEveryStage) {
  const auto reach = [&](Stage stage) {
    if (stage >= Stage::kServing) Ready();
    if (stage >= Stage::kDelay) Request();
    if (stage >= Stage::kGrace) Happened(Event::kWentQuiet);
    if (stage >= Stage::kCancel) Happened(Event::kWentIdle);
  };
  for (const Stage stage : kStages) {
    if (stage == Stage::kStopped) continue;
    Begin(kLengths);
    stage_ = Stage::kStarting;
    reach(stage);
    ASSERT_EQ(life_->stage(), stage);
    EXPECT_EQ(Happened(Event::kFailed), Stages{Stage::kStopped}) << Name(stage);
  }
}

TEST_F(LifecycleTest, AnOversleptStageEndsWhenItIsNoticed) {
  Ready();
  Request();
  EXPECT_EQ(Advance(7s), Stages{Stage::kGrace});
  EXPECT_EQ(life_->stage_began(), kBegin + 7s);
  // What was promised for the end stays.
  EXPECT_EQ(life_->plan().end, kBegin + 28s);
  ExpectRecord(0, Stage::kDelay, 5s, 7s, Event::kDeadlinePassed);
  EXPECT_EQ(Advance(18s), Stages{Stage::kCancel});
  ExpectRecord(1, Stage::kGrace, 18s, 18s, Event::kDeadlinePassed);
}

TEST_F(LifecycleTest, AWholeShutdownThatWasOversleptEndsAtOnce) {
  Ready();
  Request();
  EXPECT_EQ(Advance(1h), (Stages{Stage::kGrace, Stage::kCancel, Stage::kStopped}));
  ExpectRecord(0, Stage::kDelay, 5s, 1h, Event::kDeadlinePassed);
  ExpectRecord(1, Stage::kGrace, 0s, 0s, Event::kDeadlinePassed);
  ExpectRecord(2, Stage::kCancel, 0s, 0s, Event::kDeadlinePassed);
}

// The clock is asked before the event: idle is not what ended a grace that was over.
TEST_F(LifecycleTest, AnEventAfterTheInstantFindsTheNextStage) {
  Ready();
  Request();
  Advance(5s);
  now_ += 20s;
  EXPECT_EQ(Happened(Event::kWentIdle), Stages{Stage::kCancel});
  ExpectRecord(1, Stage::kGrace, 20s, 20s, Event::kDeadlinePassed);
}

TEST_F(LifecycleTest, ALateRequestCountsFromWhenItWasMade) {
  Ready();
  lastcall::Request request{.at = now_};
  now_ += 3s;
  Entered(life_->RequestStop(request, now_));
  EXPECT_EQ(life_->next_instant(), kBegin + 5s);
  Advance(2s);
  ExpectRecord(0, Stage::kDelay, 2s, 2s, Event::kDeadlinePassed);
}

TEST_F(LifecycleTest, RepeatedRequestsAreEnteredAndMoveNothing) {
  Ready();
  Request();
  for (int i = 0; i < 4; ++i) {
    EXPECT_EQ(Advance(1s), Stages{});
    EXPECT_EQ(Request(), Stages{});
    EXPECT_FALSE(moved_);
  }
  EXPECT_EQ(life_->ledger().entries().size(), 5u);
  EXPECT_EQ(life_->next_instant(), kBegin + 5s);
}

TEST_F(LifecycleTest, AShorterRequestEndsTheStageWhenItsInstantHasCome) {
  Ready();
  Request();
  Advance(1s);
  EXPECT_EQ(Request({.delay = 0s}), Stages{Stage::kGrace});
  EXPECT_TRUE(moved_);
  EXPECT_EQ(life_->next_instant(), kBegin + 21s);
  EXPECT_EQ(Request({.grace = 0s, .cancel = 0s}), (Stages{Stage::kCancel, Stage::kStopped}));
}

TEST_F(LifecycleTest, SkipsLeadThroughTheStagesOneByOne) {
  Ready();
  Request();
  Advance(1s);
  EXPECT_EQ(Skip(), Stages{Stage::kGrace});
  EXPECT_EQ(life_->next_instant(), kBegin + 21s);
  Advance(1s);
  EXPECT_EQ(Skip(), Stages{Stage::kCancel});
  EXPECT_EQ(life_->next_instant(), kBegin + 5s);
  Advance(1s);
  EXPECT_EQ(Skip(), Stages{Stage::kStopped});
  EXPECT_EQ(Skip(), Stages{});
  EXPECT_FALSE(moved_);
}

TEST_F(LifecycleTest, ASkipThatComesFirstStillEndsInTime) {
  Ready();
  EXPECT_EQ(Skip(), Stages{Stage::kDelay});
  EXPECT_EQ(Advance(28s), (Stages{Stage::kGrace, Stage::kCancel, Stage::kStopped}));
}

TEST_F(LifecycleTest, AStageWithoutEndWaitsForItsEvent) {
  Begin({.delay = 0s, .grace = kForever, .cancel = 3s});
  Ready();
  Request();
  EXPECT_EQ(life_->next_instant(), kNever);
  EXPECT_EQ(Advance(24h * 365), Stages{});
  EXPECT_EQ(Happened(Event::kWentIdle), Stages{Stage::kCancel});
  EXPECT_EQ(life_->next_instant(), now_ + 3s);
  ExpectRecord(1, Stage::kGrace, kForever, 24h * 365, Event::kWentIdle);
}

TEST_F(LifecycleTest, NothingHappensAfterStopped) {
  Ready();
  Request();
  Advance(1h);
  const Plan plan = life_->plan();
  for (const Event event : kEvents) EXPECT_EQ(Happened(event), Stages{});
  EXPECT_EQ(Request(), Stages{});
  EXPECT_FALSE(moved_);
  EXPECT_EQ(Request({.delay = 0s, .grace = 0s, .cancel = 0s}), Stages{});
  EXPECT_EQ(Advance(1h), Stages{});
  EXPECT_EQ(life_->plan(), plan);
  EXPECT_EQ(life_->records().size(), 3u);
  EXPECT_EQ(life_->next_instant(), kNever);
}

TEST_F(LifecycleTest, AnAdoptedPlanIsFollowedLikeAnOwnOne) {
  Ready();
  const Plan theirs{now_ + 1s, now_ + 2s, now_ + 3s};
  EXPECT_EQ(Entered(life_->Adopt(theirs, {{lastcall::Request{}, true}}, now_)),
            Stages{Stage::kDelay});
  EXPECT_EQ(life_->plan(), theirs);
  EXPECT_EQ(life_->ledger().entries().size(), 1u);
  EXPECT_EQ(Advance(1s), Stages{Stage::kGrace});
  // Adopted again when it moved: the instants that passed stay passed.
  const Plan moved{now_ + 9s, now_, now_ + 1s};
  EXPECT_EQ(Entered(life_->Adopt(moved, {}, now_)), Stages{Stage::kCancel});
  EXPECT_EQ(Advance(1s), Stages{Stage::kStopped});
}

TEST_F(LifecycleTest, AnAdoptedPlanNeverMakesAnEarlierOneLater) {
  Ready();
  Request();
  EXPECT_EQ(Entered(life_->Adopt({now_ + 1h, now_ + 2h, now_ + 3h}, {}, now_)), Stages{});
  EXPECT_EQ(life_->plan(), (Plan{kBegin + 5s, kBegin + 25s, kBegin + 28s}));
}

}  // namespace
}  // namespace lastcall
