// Whose turn is when, whatever becomes of the plan.
#include "lastcall/lifecycle/leave_spread.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

#include "lastcall/lifecycle/lifecycle.h"

#include <lastcall/testing/fake_clock.h>

namespace lastcall {
namespace {

using namespace std::chrono_literals;

constexpr Duration kPause = LeaveSpread::kPause;

class LeaveSpreadTest : public ::testing::Test {
 protected:
  // Since grace began.
  Instant At(Duration after) const { return began_ + after; }
  // All turns that are left, as planned now.
  static std::vector<Instant> Turns(LeaveSpread spread, size_t count) {
    std::vector<Instant> turns;
    for (size_t i = 0; i < count; ++i) {
      turns.push_back(spread.next());
      spread.Told();
    }
    EXPECT_EQ(spread.next(), kNever);
    return turns;
  }

  const Instant began_{1000s};
};

TEST_F(LeaveSpreadTest, TheFirstHalfOfGraceIsSharedOut) {
  LeaveSpread spread(began_, At(8s), 0s);
  EXPECT_EQ(spread.from(), began_);
  spread.Begin(4, began_);
  EXPECT_EQ(Turns(spread, 4), (std::vector{At(0s), At(1s), At(2s), At(3s)}));
}

TEST_F(LeaveSpreadTest, NobodyIsToldInTheFirstMoments) {
  EXPECT_EQ(LeaveSpread(began_, At(5s), kPause).from(), At(500ms));
  EXPECT_EQ(LeaveSpread(began_, At(100s), kPause).from(), At(1s));
  EXPECT_EQ(LeaveSpread(began_, At(100s), kForever).from(), At(10s));
  EXPECT_EQ(LeaveSpread(began_, kNever, kForever).from(), At(6s));
  EXPECT_EQ(LeaveSpread(began_, began_, kPause).from(), began_);
  EXPECT_EQ(LeaveSpread(began_, At(-3s), kPause).from(), began_);
}

TEST_F(LeaveSpreadTest, WithoutAnEndItTakesHalfAMinute) {
  LeaveSpread spread(began_, kNever, 0s);
  spread.Begin(2, began_);
  EXPECT_EQ(Turns(spread, 2), (std::vector{At(0s), At(15s)}));
}

TEST_F(LeaveSpreadTest, APlanThatIsAsItWasChangesNothing) {
  LeaveSpread spread(began_, At(8s), 0s);
  spread.Begin(4, began_);
  spread.Told();
  spread.Move(At(900ms), At(8s));
  spread.Move(At(900ms), kNever);
  EXPECT_EQ(Turns(spread, 3), (std::vector{At(1s), At(2s), At(3s)}));
}

TEST_F(LeaveSpreadTest, ANearerPlanIsSharedOutAmongThoseWhoAreLeft) {
  LeaveSpread spread(began_, At(600s), 0s);
  spread.Begin(3, began_);
  spread.Told();
  spread.Move(At(4s), At(10s));
  EXPECT_EQ(Turns(spread, 2), (std::vector{At(4s), At(5500ms)}));
}

TEST_F(LeaveSpreadTest, NobodyIsToldLaterThanBefore) {
  LeaveSpread spread(began_, At(10s), 0s);
  spread.Begin(2, began_);
  spread.Told();
  spread.Move(At(4s), At(9s));
  EXPECT_LE(spread.next(), At(5s));
}

TEST_F(LeaveSpreadTest, APlanThatIsOverLeavesNoTurn) {
  LeaveSpread spread(began_, At(600s), kPause);
  spread.Move(At(100ms), At(100ms));
  EXPECT_EQ(spread.from(), At(100ms));
  spread.Begin(2, At(100ms));
  EXPECT_EQ(Turns(spread, 2), (std::vector{At(100ms), At(100ms)}));
}

// A host's life in random requests: after each change of the plan everybody is told within the first
// half of the grace that is left, and before anybody is cancelled.
TEST_F(LeaveSpreadTest, EverybodyIsToldInTheFirstHalfOfTheGraceThatIsLeft) {
  std::mt19937 random(20261130);
  const auto length = [&](int most) { return std::chrono::milliseconds(random() % (most + 1)); };
  int moved = 0, late = 0;
  for (int life = 0; life < 10000; ++life) {
    FakeClock clock;
    Lifecycle lifecycle({.delay = length(500), .grace = length(60'000), .cancel = 5s}, clock.Now());
    lifecycle.Happened(Event::kBecameReady, clock.Now());
    std::optional<LeaveSpread> spread;
    const size_t calls = 1 + random() % 5;
    bool begun = false;
    size_t told = 0;
    Instant promised = kNever;  // by then everybody is told
    Instant cancel = kNever;
    const auto follow = [&] {
      const Instant now = clock.Now();
      if (lifecycle.stage() != Stage::kGrace) return;
      if (!spread) spread.emplace(now, lifecycle.plan().cancel, kPause);
      spread->Move(now, lifecycle.plan().cancel);
      if (lifecycle.plan().cancel == cancel) return;
      cancel = lifecycle.plan().cancel;
      promised = cancel == kNever ? now + 30s : now + (cancel - now) / 2;
      ++moved;
    };
    while (lifecycle.stage() < Stage::kCancel) {
      if (lifecycle.stage() == Stage::kServing || random() % 4 == 0) {
        Request request;
        request.at = clock.Now();
        if (random() % 2 == 0) request.grace = random() % 5 == 0 ? kForever : length(60'000);
        if (random() % 2 == 0) request.delay = length(500);
        lifecycle.RequestStop(request, clock.Now());
        follow();
      }
      const Instant due = !spread ? kNever : begun ? spread->next() : spread->from();
      const Instant random_step = clock.Now() + length(10'000);
      clock.Advance(
          std::max(Duration::zero(),
                   Duration(std::min({due, lifecycle.next_instant(), random_step}) - clock.Now())));
      while (spread && told < calls) {
        if (!begun && spread->from() <= clock.Now()) {
          begun = true;
          spread->Begin(calls, clock.Now());
        }
        if (!begun || spread->next() > clock.Now()) break;
        EXPECT_LE(clock.Now(), promised);
        spread->Told();
        ++told;
      }
      if (lifecycle.next_instant() <= clock.Now()) {
        lifecycle.Advance(clock.Now());
        follow();
      }
      if (told == calls) break;
    }
    if (told < calls) ++late;  // there was no grace at all
  }
  EXPECT_GT(moved, 11500);
  EXPECT_LT(late, 1000);
}

}  // namespace
}  // namespace lastcall
