// Jumps of the wall clock, by a clock that can be set.
#include "daemon/wall_clock_watch.h"

#include <gtest/gtest.h>
#include <sys/timerfd.h>

namespace lastcall {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

class SetClock final : public Clock {
 public:
  Instant Now() const override { return Instant(seconds(1000) + passed); }
  WallTime Wall() const override { return WallTime(seconds(1'700'000'000) + passed + set); }

  Duration passed{};
  Duration set{};
};

TEST(WallClockWatchTest, TellsHowFarItWasSet) {
  SetClock clock;
  WallClockWatch watch(clock);
  EXPECT_EQ(watch.Take(), Duration::zero());
  clock.passed += seconds(100);
  EXPECT_EQ(watch.Take(), Duration::zero()) << "time passes on both";
  clock.set += seconds(3600);
  EXPECT_EQ(watch.Take(), seconds(3600));
  EXPECT_EQ(watch.Take(), Duration::zero()) << "it was told";
  clock.set -= seconds(7200);
  clock.passed += seconds(5);
  EXPECT_EQ(watch.Take(), -seconds(7200));
  clock.set += milliseconds(900);
  EXPECT_EQ(watch.Take(), Duration::zero()) << "somebody keeps the time";
}

TEST(WallClockWatchTest, WaitsForNothingElse) {
  const SteadyClock clock;
  WallClockWatch watch(clock);
  for (int i = 0; i < 2; ++i) {
    ASSERT_GE(watch.fd(), 0);
    itimerspec left{};
    ASSERT_EQ(timerfd_gettime(watch.fd(), &left), 0);
    EXPECT_GT(left.it_value.tv_sec, 1'000'000'000) << "armed, and not for our time";
    EXPECT_EQ(watch.Take(), Duration::zero());
  }
}

TEST(WallClockWatchTest, SaysWhatItMeans) {
  EXPECT_EQ(DescribeJump(-seconds(90)),
            "the wall clock jumped 1m30s back (it was set, or the machine slept); dates in log and "
            "receipt jump with it, stages do not");
}

}  // namespace
}  // namespace lastcall
