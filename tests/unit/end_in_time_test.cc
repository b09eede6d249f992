// EndInTime: the process ends at the nearest instant, and only where the guard is still there.
#include <lastcall/event/end_in_time.h>

#include <gtest/gtest.h>
#include <unistd.h>

namespace lastcall {
namespace {

using namespace std::chrono_literals;

Instant Now() { return std::chrono::steady_clock::now(); }

class EndInTimeDeathTest : public testing::Test {
 protected:
  void SetUp() override { testing::GTEST_FLAG(death_test_style) = "threadsafe"; }
};

TEST_F(EndInTimeDeathTest, TheNearestInstantCountsWithItsCode) {
  EXPECT_EXIT(
      {
        EndInTime end;
        end.Arm(Now() + 1h, 3);
        end.Arm(Now(), 4);
        end.Arm(Now() + 1h, 5);
        for (;;) pause();
      },
      testing::ExitedWithCode(4), "");
}

TEST_F(EndInTimeDeathTest, WhatWasDisarmedIsOver) {
  EXPECT_EXIT(
      {
        EndInTime end;
        end.Arm(Now() + 10ms, 3);
        end.Disarm();
        end.Arm(Now() + 50ms, 4);
        for (;;) pause();
      },
      testing::ExitedWithCode(4), "");
}

TEST(EndInTimeTest, OnceItHasGoneTheProcessGoesOn) {
  for (int i = 0; i < 100; ++i) {
    EndInTime end;
    end.Arm(Now() + 1h, 4);
  }
  const EndInTime never_armed;
}

}  // namespace
}  // namespace lastcall
