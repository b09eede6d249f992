// Jumps of the wall clock, by a clock that can be set.
#include "daemon/wall_clock_watch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/timerfd.h>

#include <utility>
#include <vector>

namespace lastcall {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::ElementsAre;
using testing::IsEmpty;

class SetClock final : public Clock {
 public:
  Instant Now() const override { return Instant(seconds(1000) + passed); }
  WallTime Wall() const override { return WallTime(seconds(1'700'000'000) + passed + set); }

  Duration passed{};
  Duration set{};
};

// On a loop that the test turns; nobody sets the machine's clock for it.
class WallClockWatchTest : public testing::Test {
 protected:
  // What the kernel does when the clock was set: the timer is over. Returns what was told of it.
  std::vector<Duration> TheClockWasSet() {
    const itimerspec past{.it_interval = {}, .it_value = {.tv_sec = 0, .tv_nsec = 1}};
    EXPECT_EQ(timerfd_settime(watch_.fd(), TFD_TIMER_ABSTIME, &past, nullptr), 0);
    EXPECT_EQ(loop_.run_one(), 1u);
    EXPECT_EQ(loop_.poll(), 0u) << "it was read, and is waited for again";
    return std::exchange(told_, {});
  }

  SetClock clock_;
  std::vector<Duration> told_;
  boost::asio::io_context loop_;
  WallClockWatch watch_{loop_, clock_, [this](Duration jump) { told_.push_back(jump); }};
};

TEST_F(WallClockWatchTest, TellsHowFarItWasSet) {
  watch_.Begin();
  EXPECT_THAT(TheClockWasSet(), IsEmpty());
  clock_.passed += seconds(100);
  EXPECT_THAT(TheClockWasSet(), IsEmpty()) << "time passes on both";
  clock_.set += seconds(3600);
  EXPECT_THAT(TheClockWasSet(), ElementsAre(seconds(3600)));
  EXPECT_THAT(TheClockWasSet(), IsEmpty()) << "it was told";
  clock_.set -= seconds(7200);
  clock_.passed += seconds(5);
  EXPECT_THAT(TheClockWasSet(), ElementsAre(-seconds(7200)));
  clock_.set += milliseconds(900);
  EXPECT_THAT(TheClockWasSet(), IsEmpty()) << "somebody keeps the time";
}

TEST_F(WallClockWatchTest, WhatHappenedBeforeItBeganIsNotTold) {
  EXPECT_EQ(watch_.fd(), -1) << "constructing begins nothing";
  clock_.set += seconds(3600);
  watch_.Begin();
  EXPECT_THAT(TheClockWasSet(), IsEmpty());
}

TEST_F(WallClockWatchTest, WaitsForNothingElse) {
  watch_.Begin();
  for (int i = 0; i < 2; ++i) {
    itimerspec left{};
    ASSERT_EQ(timerfd_gettime(watch_.fd(), &left), 0);
    EXPECT_GT(left.it_value.tv_sec, 1'000'000'000) << "armed, and not for our time";
    EXPECT_EQ(loop_.poll(), 0u);
    EXPECT_THAT(TheClockWasSet(), IsEmpty());
  }
}

TEST(WallClockJumpTest, SaysWhatItMeans) {
  EXPECT_EQ(DescribeJump(-seconds(90)),
            "the wall clock jumped 1m30s back (it was set, or the machine slept); dates in log and "
            "receipt jump with it, stages do not");
}

}  // namespace
}  // namespace lastcall
