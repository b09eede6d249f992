// RepeatLimit: so many lines of a source in a window, and the rest counted once.
#include "wire/repeat_limit.h"

#include <gtest/gtest.h>

#include <string>

namespace lastcall {
namespace {

using namespace std::chrono_literals;

constexpr Instant kBegin{1h};

int Admitted(RepeatLimit& limit, const std::string& source, int lines, Instant at) {
  int admitted = 0;
  for (int i = 0; i < lines; ++i) admitted += limit.Admit(source, at) ? 1 : 0;
  return admitted;
}

TEST(RepeatLimitTest, WhatIsTooMuchIsCountedWhenItsWindowIsOver) {
  RepeatLimit limit(10, 10s);
  EXPECT_EQ(Admitted(limit, "a.cc:1", 1000, kBegin), 10);
  EXPECT_TRUE(limit.TakeLeftOut(kBegin + 9s).empty());
  const auto left_out = limit.TakeLeftOut(kBegin + 12s);
  ASSERT_EQ(left_out.size(), 1u);
  EXPECT_EQ(left_out[0].source, "a.cc:1");
  EXPECT_EQ(left_out[0].lines, 990u);
  EXPECT_EQ(left_out[0].within, 12s);
  EXPECT_TRUE(limit.TakeLeftOut(kBegin + 1h).empty());
  EXPECT_EQ(Admitted(limit, "a.cc:1", 1000, kBegin + 12s), 10);
}

TEST(RepeatLimitTest, SourcesDoNotShareAndNothingIsSaidOfTheQuiet) {
  RepeatLimit limit(10, 10s);
  EXPECT_EQ(Admitted(limit, "a.cc:1", 1000, kBegin), 10);
  EXPECT_EQ(Admitted(limit, "a.cc:2", 10, kBegin), 10);
  EXPECT_EQ(limit.TakeLeftOut(kBegin, true).size(), 1u);
}

TEST(RepeatLimitTest, SourcesBeyondAThousandCountAsOne) {
  RepeatLimit limit(1, 10s);
  for (int i = 0; i < 1000; ++i) EXPECT_TRUE(limit.Admit(std::to_string(i), kBegin));
  EXPECT_TRUE(limit.Admit("one more", kBegin));
  EXPECT_FALSE(limit.Admit("another", kBegin));
  EXPECT_FALSE(limit.Admit("7", kBegin));
  EXPECT_EQ(limit.TakeLeftOut(kBegin, true).size(), 2u);
}

}  // namespace
}  // namespace lastcall
