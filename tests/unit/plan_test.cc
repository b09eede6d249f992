// The plan and its ledger: how requests are merged, and what an early end does.
#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <vector>

#include <lastcall/lifecycle/plan.h>

namespace lastcall {

void PrintTo(const Plan& plan, std::ostream* out) {
  const auto seconds = [](Instant instant) {
    return instant == kNever ? std::string("never") : FormatDuration(instant.time_since_epoch());
  };
  *out << "{" << seconds(plan.grace) << ", " << seconds(plan.cancel) << ", " << seconds(plan.end)
       << "}";
}

namespace {

using namespace std::chrono_literals;

constexpr Budget kConfigured{.delay = 5s, .grace = 20s, .cancel = 3s};

constexpr Instant At(Duration since) { return Instant(since); }

constexpr Plan PlanAt(Duration grace, Duration cancel, Duration end) {
  return {At(grace), At(cancel), At(end)};
}

Request RequestAt(Duration at, std::optional<Duration> delay = {},
                  std::optional<Duration> grace = {}, std::optional<Duration> cancel = {}) {
  return {.at = At(at), .delay = delay, .grace = grace, .cancel = cancel};
}

Request SkipAt(Duration at) { return {.at = At(at), .skip = true}; }

// A ledger with one request at 100 s, resolved by `configured`.
Ledger Begun(Budget configured = kConfigured) {
  Ledger ledger(configured);
  ledger.Add(RequestAt(100s), Stage::kServing);
  return ledger;
}

TEST(BudgetTest, TotalIsTheSumAndNeverOverflows) {
  EXPECT_EQ(kConfigured.Total(), 28s);
  EXPECT_EQ((Budget{.delay = kForever, .grace = kForever, .cancel = kForever}.Total()), kForever);
  EXPECT_EQ((Budget{.delay = 1s, .grace = kForever - 1s, .cancel = 0s}.Total()), kForever);
  EXPECT_EQ((Budget{.delay = 0s, .grace = kForever, .cancel = 0s}.Total()), kForever);
}

TEST(PlanTest, StagesEndWhereTheNextBegins) {
  constexpr Plan plan = PlanAt(1s, 2s, 3s);
  EXPECT_EQ(plan.EndOf(Stage::kDelay), plan.BeginOf(Stage::kGrace));
  EXPECT_EQ(plan.EndOf(Stage::kGrace), plan.BeginOf(Stage::kCancel));
  EXPECT_EQ(plan.EndOf(Stage::kCancel), plan.BeginOf(Stage::kStopped));
  EXPECT_EQ(plan.BeginOf(Stage::kGrace), At(1s));
  EXPECT_EQ(plan.BeginOf(Stage::kCancel), At(2s));
  EXPECT_EQ(plan.BeginOf(Stage::kStopped), At(3s));
  for (const Stage stage : {Stage::kStarting, Stage::kServing, Stage::kStopped}) {
    EXPECT_EQ(plan.EndOf(stage), kNever) << Name(stage);
  }
  for (const Stage stage : {Stage::kStarting, Stage::kServing, Stage::kDelay}) {
    EXPECT_EQ(plan.BeginOf(stage), kNever) << Name(stage);
  }
}

TEST(PlanTest, MinimumIsTakenInstantByInstant) {
  EXPECT_EQ(Minimum(PlanAt(1s, 9s, 12s), PlanAt(2s, 5s, 30s)), PlanAt(1s, 5s, 12s));
  EXPECT_EQ(Minimum(Plan{}, PlanAt(2s, 5s, 30s)), PlanAt(2s, 5s, 30s));
}

// What a request that leaves everything out, and one that gives everything, ask for in each stage.
TEST(ResolveTest, LeftOutLengthsAreTheConfiguredOnesUnlessTheStageIsOver) {
  struct {
    Stage stage;
    Plan left_out;
  } const rows[] = {
      {Stage::kStarting, PlanAt(100s, 100s, 103s)},  // there is no call to wait for
      {Stage::kServing, PlanAt(105s, 125s, 128s)},  {Stage::kDelay, PlanAt(105s, 125s, 128s)},
      {Stage::kGrace, PlanAt(100s, 120s, 123s)},    {Stage::kCancel, PlanAt(100s, 100s, 103s)},
      {Stage::kStopped, PlanAt(100s, 100s, 103s)},
  };
  ASSERT_EQ(std::size(rows), kStages.size());
  for (const auto& row : rows) {
    EXPECT_EQ(Resolve(RequestAt(100s), kConfigured, row.stage), row.left_out) << Name(row.stage);
    EXPECT_EQ(Resolve(RequestAt(100s, 1s, 2s, 4s), kConfigured, row.stage),
              PlanAt(101s, 103s, 107s))
        << Name(row.stage);
  }
}

TEST(ResolveTest, OneLengthGivenLeavesTheOthersAsConfigured) {
  EXPECT_EQ(Resolve(RequestAt(100s, 0s), kConfigured, Stage::kServing), PlanAt(100s, 120s, 123s));
  EXPECT_EQ(Resolve(RequestAt(100s, {}, 1s), kConfigured, Stage::kServing),
            PlanAt(105s, 106s, 109s));
  EXPECT_EQ(Resolve(RequestAt(100s, {}, {}, 0s), kConfigured, Stage::kServing),
            PlanAt(105s, 125s, 125s));
}

TEST(ResolveTest, ForeverIsNeverAndWhatFollowsToo) {
  const auto resolve = [](Request request) {
    return Resolve(request, kConfigured, Stage::kServing);
  };
  EXPECT_EQ(resolve(RequestAt(100s, kForever)), Plan{});
  EXPECT_EQ(resolve(RequestAt(100s, 1s, kForever)), (Plan{At(101s), kNever, kNever}));
  EXPECT_EQ(resolve(RequestAt(100s, 1s, 2s, kForever)), (Plan{At(101s), At(103s), kNever}));
  // One nanosecond less than for ever, from any instant on, must not wrap around.
  EXPECT_EQ(resolve(RequestAt(100s, kForever - 1ns)), Plan{});
  EXPECT_EQ(resolve({.at = kNever}), Plan{});
}

TEST(ResolveTest, LengthsBelowZeroAreNone) {
  constexpr Budget kNone{.delay = -1s, .grace = -kForever, .cancel = Duration::min()};
  EXPECT_EQ(kNone.Total(), 0s);
  EXPECT_EQ((Budget{.delay = -1s, .grace = 2s, .cancel = -1s}.Total()), 2s);
  EXPECT_EQ(Resolve(RequestAt(100s), kNone, Stage::kServing), PlanAt(100s, 100s, 100s));
  EXPECT_EQ(Resolve(RequestAt(100s, -1s, Duration::min(), -kForever), kConfigured, Stage::kServing),
            PlanAt(100s, 100s, 100s));
}

TEST(LedgerTest, BeginsEmptyWithoutAPlan) {
  const Ledger ledger(kConfigured);
  EXPECT_TRUE(ledger.empty());
  EXPECT_EQ(ledger.plan(), Plan{});
}

TEST(LedgerTest, TheFirstRequestMakesThePlan) {
  const Ledger ledger = Begun();
  EXPECT_FALSE(ledger.empty());
  EXPECT_EQ(ledger.plan(), PlanAt(105s, 125s, 128s));
  ASSERT_EQ(ledger.entries().size(), 1u);
  EXPECT_TRUE(ledger.entries()[0].moved);
}

TEST(LedgerTest, RepeatingARequestRestartsNoClock) {
  Ledger ledger = Begun();
  EXPECT_FALSE(ledger.Add(RequestAt(101s), Stage::kDelay));
  EXPECT_FALSE(ledger.Add(RequestAt(104s), Stage::kDelay));
  EXPECT_EQ(ledger.plan(), PlanAt(105s, 125s, 128s));
}

// Everybody is told all of them.
TEST(LedgerTest, RepeatingARequestForEverMakesNoLongList) {
  Ledger ledger = Begun();
  ledger.Add(RequestAt(101s, 1s), Stage::kDelay);
  for (int i = 0; i < 10'000; ++i) ledger.Add(RequestAt(102s), Stage::kDelay);
  EXPECT_EQ(ledger.entries().size(), Ledger::kMostEntries);
  EXPECT_EQ(ledger.left_out(), 10'002 - Ledger::kMostEntries);
  EXPECT_EQ(ledger.entries()[0].request.at, At(100s));
  EXPECT_EQ(ledger.entries()[1].request.at, At(101s)) << "it moved the plan";
  // And where each of them moves it, the newest and the first are kept.
  for (int i = 1; i <= 1'000; ++i) {
    EXPECT_TRUE(ledger.Add(RequestAt(102s - 1ms * i, 0s), Stage::kDelay));
  }
  EXPECT_EQ(ledger.entries().size(), Ledger::kMostEntries);
  EXPECT_EQ(ledger.entries().front().request.at, At(100s));
  EXPECT_EQ(ledger.entries().back().request.at, At(101s));
  EXPECT_EQ(ledger.left_out(), 11'002 - Ledger::kMostEntries);
}

TEST(LedgerTest, ALongerRequestChangesNothing) {
  Ledger ledger = Begun();
  EXPECT_FALSE(ledger.Add(RequestAt(100s, 60s, 600s, 60s), Stage::kDelay));
  EXPECT_FALSE(ledger.Add(RequestAt(100s, kForever), Stage::kDelay));
  EXPECT_EQ(ledger.plan(), PlanAt(105s, 125s, 128s));
}

TEST(LedgerTest, ARequestBringsForwardOnlyTheInstantsThatItShortens) {
  Ledger ledger = Begun();
  // A longer delay, yet so short a grace that cancel comes sooner.
  EXPECT_TRUE(ledger.Add(RequestAt(101s, 6s, 1s, 60s), Stage::kDelay));
  EXPECT_EQ(ledger.plan(), PlanAt(105s, 108s, 128s));
  EXPECT_TRUE(ledger.Add(RequestAt(102s, 0s, 60s, 0s), Stage::kDelay));
  EXPECT_EQ(ledger.plan(), PlanAt(102s, 108s, 128s));
}

TEST(LedgerTest, EveryRequestIsEnteredWithWhetherItMovedThePlan) {
  Ledger ledger = Begun();
  Request longer = RequestAt(101s, 60s);
  longer.cause.reason = "longer";
  Request shorter = RequestAt(102s, 0s);
  shorter.cause.reason = "shorter";
  ledger.Add(longer, Stage::kDelay);
  ledger.Add(shorter, Stage::kDelay);
  ledger.Add(SkipAt(103s), Stage::kGrace);
  ledger.Add(SkipAt(104s), Stage::kStopped);
  ASSERT_EQ(ledger.entries().size(), 5u);
  EXPECT_EQ(ledger.entries()[1].request.cause.reason, "longer");
  EXPECT_FALSE(ledger.entries()[1].moved);
  EXPECT_EQ(ledger.entries()[2].request.cause.reason, "shorter");
  EXPECT_TRUE(ledger.entries()[2].moved);
  EXPECT_TRUE(ledger.entries()[3].moved);
  EXPECT_FALSE(ledger.entries()[4].moved);
}

TEST(LedgerTest, ARequestInGraceOrCancelCountsFromItself) {
  Ledger ledger = Begun();
  EXPECT_TRUE(ledger.Add(RequestAt(110s, {}, 1s), Stage::kGrace));
  EXPECT_EQ(ledger.plan(), PlanAt(105s, 111s, 114s));
  EXPECT_TRUE(ledger.Add(RequestAt(112s, {}, {}, 1s), Stage::kCancel));
  EXPECT_EQ(ledger.plan(), PlanAt(105s, 111s, 113s));
  EXPECT_FALSE(ledger.Add(RequestAt(112s), Stage::kCancel));
}

TEST(LedgerTest, SkipEndsTheCurrentStageAndKeepsTheLengthsAfterIt) {
  struct {
    Stage stage;
    Duration at;
    Plan plan;
    bool moved;
  } const rows[] = {
      {Stage::kDelay, 101s, PlanAt(101s, 121s, 124s), true},
      {Stage::kGrace, 110s, PlanAt(105s, 110s, 113s), true},
      {Stage::kCancel, 126s, PlanAt(105s, 125s, 126s), true},
      {Stage::kStopped, 128s, PlanAt(105s, 125s, 128s), false},
      {Stage::kDelay, 105s, PlanAt(105s, 125s, 128s), false},  // it is over anyway
  };
  for (const auto& row : rows) {
    Ledger ledger = Begun();
    EXPECT_EQ(ledger.Add(SkipAt(row.at), row.stage), row.moved) << Name(row.stage);
    EXPECT_EQ(ledger.plan(), row.plan) << Name(row.stage);
  }
}

TEST(LedgerTest, ASkipIgnoresTheLengthsBesideIt) {
  Ledger ledger = Begun();
  Request skip = SkipAt(101s);
  skip.grace = 0s;
  ledger.Add(skip, Stage::kDelay);
  EXPECT_EQ(ledger.plan(), PlanAt(101s, 121s, 124s));
}

// There is no stage of a shutdown to skip yet; a plan without instants would never end.
TEST(LedgerTest, ASkipBeforeAnyStopIsAnOrdinaryRequest) {
  for (const Stage stage : {Stage::kStarting, Stage::kServing}) {
    Ledger ledger(kConfigured);
    EXPECT_TRUE(ledger.Add(SkipAt(100s), stage)) << Name(stage);
    EXPECT_EQ(ledger.plan(), Resolve(RequestAt(100s), kConfigured, stage)) << Name(stage);
  }
}

TEST(LedgerTest, SkippingAStageWithoutEndGivesTheNextItsConfiguredLength) {
  Ledger delay = Begun({.delay = kForever, .grace = 20s, .cancel = 3s});
  ASSERT_EQ(delay.plan(), Plan{});
  EXPECT_TRUE(delay.Add(SkipAt(1000s), Stage::kDelay));
  EXPECT_EQ(delay.plan(), PlanAt(1000s, 1020s, 1023s));

  Ledger grace = Begun({.delay = 5s, .grace = kForever, .cancel = 3s});
  EXPECT_TRUE(grace.Add(SkipAt(1000s), Stage::kGrace));
  EXPECT_EQ(grace.plan(), PlanAt(105s, 1000s, 1003s));

  Ledger cancel = Begun({.delay = 5s, .grace = 20s, .cancel = kForever});
  EXPECT_TRUE(cancel.Add(SkipAt(1000s), Stage::kCancel));
  EXPECT_EQ(cancel.plan(), PlanAt(105s, 125s, 1000s));
}

TEST(LedgerTest, AnEndlessStageAfterTheSkippedOneStaysEndless) {
  Ledger both = Begun({.delay = kForever, .grace = kForever, .cancel = 3s});
  EXPECT_TRUE(both.Add(SkipAt(1000s), Stage::kDelay));
  EXPECT_EQ(both.plan(), (Plan{At(1000s), kNever, kNever}));

  Ledger grace = Begun({.delay = 5s, .grace = kForever, .cancel = 3s});
  EXPECT_TRUE(grace.Add(SkipAt(101s), Stage::kDelay));
  EXPECT_EQ(grace.plan(), (Plan{At(101s), kNever, kNever}));

  Ledger cancel = Begun({.delay = 5s, .grace = 20s, .cancel = kForever});
  EXPECT_TRUE(cancel.Add(SkipAt(101s), Stage::kDelay));
  EXPECT_EQ(cancel.plan(), (Plan{At(101s), At(121s), kNever}));
}

TEST(LedgerTest, AnEarlyEndKeepsTheLengthsThatFollow) {
  Ledger ledger = Begun();
  ledger.EndedEarly(Stage::kDelay, At(102s));
  EXPECT_EQ(ledger.plan(), PlanAt(102s, 122s, 125s));
  ledger.EndedEarly(Stage::kGrace, At(103s));
  EXPECT_EQ(ledger.plan(), PlanAt(102s, 103s, 106s));
  ledger.EndedEarly(Stage::kCancel, At(104s));
  EXPECT_EQ(ledger.plan(), PlanAt(102s, 103s, 104s));
  EXPECT_EQ(ledger.entries().size(), 1u);
}

TEST(LedgerTest, ALateEndMovesNothing) {
  Ledger ledger = Begun();
  ledger.EndedEarly(Stage::kDelay, At(105s));
  ledger.EndedEarly(Stage::kGrace, At(300s));
  EXPECT_EQ(ledger.plan(), PlanAt(105s, 125s, 128s));
}

TEST(LedgerTest, AdoptTakesTheEntriesAsTheyAreAndTheEarlierInstants) {
  Ledger ledger = Begun();
  Ledger::Entry theirs{RequestAt(90s), false};
  EXPECT_FALSE(ledger.Adopt(PlanAt(200s, 210s, 220s), {theirs, theirs}));
  EXPECT_EQ(ledger.plan(), PlanAt(105s, 125s, 128s));
  EXPECT_EQ(ledger.entries().size(), 2u);
  EXPECT_FALSE(ledger.entries()[0].moved);
  EXPECT_TRUE(ledger.Adopt(PlanAt(200s, 210s, 120s), {theirs}));
  EXPECT_EQ(ledger.plan().end, At(120s));
  EXPECT_EQ(ledger.entries().size(), 1u);
}

// However many ask, in whatever order: the plan is what the most urgent asks, instant by instant.
TEST(LedgerTest, RandomRequestsInAnyOrderMeetAtTheMinimum) {
  std::mt19937 random(20261121);
  const auto length = [&]() -> std::optional<Duration> {
    switch (random() % 6) {
      case 0: return std::nullopt;
      case 1: return kForever;
      case 2: return kForever - Duration(random());
      default: return std::chrono::milliseconds(random() % 30'000);
    }
  };
  for (int round = 0; round < 2000; ++round) {
    const Stage stage = kStages[1 + random() % 5];
    std::vector<Request> requests(1 + random() % 8);
    Plan expected;
    for (Request& request : requests) {
      request =
          RequestAt(std::chrono::milliseconds(random() % 60'000), length(), length(), length());
      const Plan alone = Resolve(request, kConfigured, stage);
      ASSERT_LE(alone.grace, alone.cancel);
      ASSERT_LE(alone.cancel, alone.end);
      expected.grace = std::min(expected.grace, alone.grace);
      expected.cancel = std::min(expected.cancel, alone.cancel);
      expected.end = std::min(expected.end, alone.end);
    }
    for (int order = 0; order < 3; ++order) {
      std::shuffle(requests.begin(), requests.end(), random);
      Ledger ledger(kConfigured);
      for (const Request& request : requests) {
        const Plan before = ledger.plan();
        const bool moved = ledger.Add(request, stage);
        ASSERT_EQ(moved, ledger.plan() != before);
        ASSERT_EQ(moved, ledger.entries().back().moved);
        const Plan alone = Resolve(request, kConfigured, stage);
        ASSERT_LE(ledger.plan().grace, alone.grace);
        ASSERT_LE(ledger.plan().cancel, alone.cancel);
        ASSERT_LE(ledger.plan().end, alone.end);
      }
      ASSERT_EQ(ledger.plan(), expected);
      ASSERT_EQ(ledger.entries().size(), requests.size());
    }
  }
}

}  // namespace
}  // namespace lastcall
