// A process is frozen where its canary and its threads both say so, for long; nothing less will do.
#include "lastcall/host/frozen_judge.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace lastcall {
namespace {

using namespace std::chrono_literals;
using Evidence = FrozenJudge::Evidence;
using Canary = CanaryReport::State;
using What = Doing::What;
using Late = Lateness::Cause;

constexpr Duration kAfter = 10s, kLook = 250ms;

CanaryReport Probe(Canary state, bool callback = true) {
  return {.state = state, .callback = callback, .latency = {}, .since = {}};
}

Evidence Frozen() {
  return {.serving = true,
          .canaries = {Probe(Canary::kOverdue)},
          .threads = 2,
          .held = {What::kBlocked, What::kOnCpu}};
}

// Whether it is frozen after so long of the same.
bool FrozenAfter(const Evidence& evidence, Duration length) {
  FrozenJudge judge(kAfter);
  bool frozen = false;
  for (Duration at{}; at <= length; at += kLook) frozen = judge.Look(evidence, Instant(at));
  return frozen;
}

// What the threads do, and whether a handler that does this holds its thread.
struct Holders {
  std::vector<What> held;
  bool all;
};

const Holders kHolders[] = {
    {{}, false},
    {{What::kBlocked}, false},
    {{What::kOnCpu}, false},
    {{What::kBlocked, What::kBlocked}, true},
    {{What::kOnCpu, What::kOnCpu}, true},
    {{What::kBlocked, What::kOnCpu}, true},
    {{What::kBlocked, What::kStarved}, false},
    {{What::kStarved, What::kStarved}, false},
    {{What::kBlocked, What::kPaused}, false},
    {{What::kBlocked, What::kUnknown}, false},
    {{What::kBlocked, What::kGone}, false},
};

struct Canaries {
  std::vector<CanaryReport> reports;
  bool unanswered;
};

const Canaries kCanaries[] = {
    {{}, false},
    {{Probe(Canary::kOk)}, false},
    {{Probe(Canary::kFull)}, false},
    {{Probe(Canary::kOverdue)}, true},
    {{Probe(Canary::kOverdue), Probe(Canary::kOverdue)}, true},
    {{Probe(Canary::kOverdue), Probe(Canary::kOk)}, false},
    {{Probe(Canary::kOverdue), Probe(Canary::kFull)}, false},
    // Those of synchronous servers go elsewhere: they say nothing of these threads.
    {{Probe(Canary::kOverdue, false)}, false},
    {{Probe(Canary::kFull, false)}, false},
    {{Probe(Canary::kOverdue), Probe(Canary::kOk, false)}, true},
    {{Probe(Canary::kOk), Probe(Canary::kOverdue, false)}, false},
};

TEST(FrozenJudgeTest, CanaryAndThreadsMustBothSaySoInEveryCombination) {
  int frozen = 0;
  for (const Canaries& canaries : kCanaries) {
    for (const Holders& holders : kHolders) {
      for (const Late late : {Late::kNone, Late::kStarved, Late::kPaused, Late::kHeldUp}) {
        for (const bool serving : {true, false}) {
          for (const bool progress : {false, true}) {
            const Evidence evidence{.serving = serving,
                                    .lateness = late,
                                    .canaries = canaries.reports,
                                    .threads = 2,
                                    .held = holders.held,
                                    .progress = progress};
            const bool all =
                canaries.unanswered && holders.all && late == Late::kNone && serving && !progress;
            frozen += all ? 1 : 0;
            EXPECT_EQ(FrozenAfter(evidence, 2 * kAfter), all)
                << "canaries " << &canaries - kCanaries << ", holders " << &holders - kHolders
                << ", late " << static_cast<int>(late) << ", serving " << serving << ", progress "
                << progress;
          }
        }
      }
    }
  }
  EXPECT_EQ(frozen, 3 * 3);
}

TEST(FrozenJudgeTest, AProcessWithoutCallbackThreadsIsNot) {
  Evidence evidence = Frozen();
  evidence.threads = 0;
  evidence.held = {};
  EXPECT_FALSE(FrozenAfter(evidence, 2 * kAfter));
}

TEST(FrozenJudgeTest, SlownessThatEndsInTimeIsNoReason) {
  EXPECT_FALSE(FrozenAfter(Frozen(), kAfter - kLook));
  EXPECT_TRUE(FrozenAfter(Frozen(), kAfter));
}

class FrozenJudgeBreakTest : public testing::Test {
 protected:
  bool Look(const Evidence& evidence) { return judge_.Look(evidence, now_ += kLook); }
  bool For(Duration length, const Evidence& evidence) {
    bool frozen = false;
    for (Duration at{}; at < length; at += kLook) frozen = Look(evidence);
    return frozen;
  }

  FrozenJudge judge_{kAfter};
  Instant now_{};
};

TEST_F(FrozenJudgeBreakTest, OneLookThatSaysOtherwiseBeginsItsTimeAnew) {
  EXPECT_FALSE(For(kAfter, Frozen()));
  Evidence progress = Frozen();
  progress.progress = true;
  EXPECT_FALSE(Look(progress));
  EXPECT_FALSE(For(kAfter, Frozen()));
  EXPECT_TRUE(Look(Frozen()));
}

TEST_F(FrozenJudgeBreakTest, APauseOfTheProcessIsNotCounted) {
  EXPECT_FALSE(For(kAfter, Frozen()));
  Evidence paused = Frozen();
  paused.lateness = Late::kPaused;
  now_ += 15s;
  EXPECT_FALSE(Look(paused));
  EXPECT_FALSE(For(kAfter, Frozen()));
  EXPECT_TRUE(Look(Frozen()));
}

TEST_F(FrozenJudgeBreakTest, WhoWasLateHimselfDoesNotSayThatItHasThawed) {
  EXPECT_TRUE(For(2 * kAfter, Frozen()));
  Evidence late = Frozen();
  late.lateness = Late::kHeldUp;
  EXPECT_TRUE(Look(late));
  Evidence answered = Frozen();
  answered.canaries = {Probe(Canary::kOk)};
  EXPECT_FALSE(Look(answered));
  late.serving = false;
  EXPECT_FALSE(Look(late));
}

TEST_F(FrozenJudgeBreakTest, OneThatStopsIsFrozenNoMore) {
  EXPECT_TRUE(For(2 * kAfter, Frozen()));
  Evidence late = Frozen();
  late.lateness = Late::kHeldUp;
  late.serving = false;
  EXPECT_FALSE(Look(late));
}

}  // namespace
}  // namespace lastcall
