// Which stalls are said: each once, again when it has become twice as bad, and few in a minute.
#include "lastcall/host/stall_reports.h"

#include <gtest/gtest.h>

namespace lastcall {
namespace {

using namespace std::chrono_literals;

class StallReportsTest : public testing::Test {
 protected:
  bool Says(const std::string& signature, Duration age) {
    return reports_.Says(signature, age, now_);
  }

  StallReports reports_;
  Instant now_{1h};
};

TEST_F(StallReportsTest, OneIsSaidOnceUntilItHasLastedTwiceAsLong) {
  EXPECT_TRUE(Says("a", 10s));
  int said = 0;
  for (Duration age = 10s; age < 80s; age += 500ms) {
    now_ += 500ms;
    if (Says("a", age)) ++said;
  }
  EXPECT_EQ(said, 2) << "at 20 s and 40 s";
}

TEST_F(StallReportsTest, ManyCallsThatHangInOnePlaceAreOne) {
  EXPECT_TRUE(Says("a", 10s));
  for (int call = 0; call < 100; ++call) EXPECT_FALSE(Says("a", 10s));
  EXPECT_EQ(reports_.TakeSuppressed(), 0u) << "that is no flood";
}

TEST_F(StallReportsTest, FewAreSaidInAMinuteAndTheOthersCounted) {
  for (int i = 0; i < 8; ++i) {
    EXPECT_EQ(Says(std::to_string(i), 10s), i < 5) << i;
    now_ += 1s;
  }
  EXPECT_EQ(reports_.TakeSuppressed(), 3u);
  EXPECT_EQ(reports_.TakeSuppressed(), 0u);
  now_ += 1min;
  EXPECT_TRUE(Says("7", 70s)) << "what was not said may be said later";
}

TEST_F(StallReportsTest, AMinuteIsAnyMinute) {
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(Says(std::to_string(i), 10s));
  now_ += 59s;
  EXPECT_FALSE(Says("x", 10s));
  now_ += 1s;
  EXPECT_TRUE(Says("x", 10s));
}

TEST_F(StallReportsTest, WhatWasNotHeardOfForLongIsNew) {
  EXPECT_TRUE(Says("a", 10s));
  now_ += 9min;
  EXPECT_FALSE(Says("a", 10s));
  now_ += 10min;
  EXPECT_TRUE(Says("a", 10s));
}

TEST_F(StallReportsTest, ItKnowsABoundedNumber) {
  for (size_t i = 0; i < 3 * StallReports::kMostKnown; ++i) {
    Says(std::to_string(i), 10s);
    now_ += 15s;
  }
  EXPECT_TRUE(Says("0", 10s)) << "it was forgotten";
}

}  // namespace
}  // namespace lastcall
