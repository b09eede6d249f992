// Time: durations as people write and read them, instants at the end of time, deadlines.
#include <lastcall/base/clock.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace lastcall {
namespace {

using namespace std::chrono_literals;
using Days = std::chrono::duration<int64_t, std::ratio<86400>>;

struct Written {
  std::string text;
  Duration length;
};

class GoodDurationTest : public testing::TestWithParam<Written> {};

TEST_P(GoodDurationTest, IsUnderstood) {
  const auto length = ParseDuration(GetParam().text);
  ASSERT_TRUE(length) << length.error().message;
  EXPECT_EQ(*length, GetParam().length);
}

const Written kGood[] = {
    {"0s", 0s},
    {"1ns", 1ns},
    {"2us", 2us},
    {"250ms", 250ms},
    {"5s", 5s},
    {"3m", 3min},
    {"2h", 2h},
    {"1d", Days(1)},
    {"1.5s", 1500ms},
    {"0.25ms", 250us},
    {".5s", 500ms},
    {"1m30s", 90s},
    {"1h2m3s4ms", 1h + 2min + 3s + 4ms},
    {"90s", 90s},
    {"30s1m", 90s},
    {"1s1s", 2s},
    {"0.0000000001s", 0ns},
    {"infinity", kForever},
};

struct Wrong {
  std::string text;
  std::string why;
};

class BadDurationTest : public testing::TestWithParam<Wrong> {};

TEST_P(BadDurationTest, IsRefusedWithAnExample) {
  const auto length = ParseDuration(GetParam().text);
  ASSERT_FALSE(length);
  EXPECT_EQ(length.error().code, Code::kInvalidArgument);
  EXPECT_EQ(length.error().message, "\"" + GetParam().text +
                                        "\" is not a duration: " + GetParam().why +
                                        "; write for example \"250ms\", \"5s\" or \"1m30s\"");
}

const Wrong kBad[] = {
    {"", "it is empty"},
    {"5", "the unit is missing"},
    {"1m30", "the unit is missing"},
    {"5sec", "\"sec\" is not one of ns us ms s m h d"},
    {"5S", "\"S\" is not one of ns us ms s m h d"},
    {"5 s", "\" s\" is not one of ns us ms s m h d"},
    {"5s ", "\"s \" is not one of ns us ms s m h d"},
    {"1e3s", "\"e\" is not one of ns us ms s m h d"},
    {"1y", "\"y\" is not one of ns us ms s m h d"},
    {"-5s", "it must not be negative"},
    {"-0s", "it must not be negative"},
    {"1m-30s", "it must not be negative"},
    {"s", "it needs a number with a unit"},
    {" 5s", "it needs a number with a unit"},
    {"+5s", "it needs a number with a unit"},
    {"nans", "it needs a number with a unit"},
    {"infs", "it needs a number with a unit"},
    {"infinity5s", "it needs a number with a unit"},
    {"5sinfinity", "\"sinfinity\" is not one of ns us ms s m h d"},
    {"nans", "it needs a number with a unit"},
    {"five seconds", "it needs a number with a unit"},
    {"1..5s", "the unit is missing"},
    {"0x10s", "\"x\" is not one of ns us ms s m h d"},
};
INSTANTIATE_TEST_SUITE_P(All, GoodDurationTest, testing::ValuesIn(kGood));
INSTANTIATE_TEST_SUITE_P(All, BadDurationTest, testing::ValuesIn(kBad));

TEST(ClockTest, AfterIsTotal) {
  constexpr Instant kNow{1000s};
  EXPECT_EQ(After(kNow, 5s), Instant(1005s));
  for (const Duration none :
       {Duration(0s), Duration(-1ns), Duration(-1s), -kForever, Duration::min()}) {
    EXPECT_EQ(After(kNow, none), kNow) << none.count();
    EXPECT_EQ(After(kNever, none), kNever) << none.count();
    EXPECT_EQ(After(Instant::min(), none), Instant::min()) << none.count();
  }
  EXPECT_EQ(After(kNow, kForever), kNever);
  EXPECT_EQ(After(kNow, kForever - 1ns), kNever);
  EXPECT_EQ(After(Instant::min(), kForever), Instant(-1ns));
  EXPECT_EQ(After(kNever, 1ns), kNever);
}

TEST(ClockTest, TheLongestNegativeLengthCanBeWritten) {
  EXPECT_EQ(FormatDuration(-1s), "-1s");
  EXPECT_EQ(FormatDuration(Duration::min()), "-infinity");
}

TEST(ParseDurationTest, MoreThanTimeHasIsForever) {
  EXPECT_EQ(ParseDuration("999999d").value_or(0s), kForever);
}

class FormatDurationTest : public testing::TestWithParam<Written> {};

TEST_P(FormatDurationTest, IsWhatPeopleRead) {
  EXPECT_EQ(FormatDuration(GetParam().length), GetParam().text);
}

const Written kFormatted[] = {
    {"0s", 0s},          {"0.001us", 1ns},
    {"1us", 1us},        {"999us", 999us},
    {"1ms", 999'900ns},  {"250ms", 250ms},
    {"1.23ms", 1234us},  {"999ms", 999ms},
    {"1s", 999'900us},   {"1s", 1s},
    {"1.5s", 1500ms},    {"12.3s", 12345ms},
    {"59.9s", 59900ms},  {"1m", 59960ms},
    {"1m", 1min},        {"1m30s", 90s},
    {"1m31s", 90600ms},  {"1h", 1h},
    {"1h1s", 1h + 1s},   {"1h2m3s", 1h + 2min + 3s},
    {"1d", Days(1)},     {"1d2h3m", Days(1) + 2h + 3min + 4s},
    {"365d", Days(365)}, {"infinity", kForever},
    {"-1.5s", -1500ms},
};
INSTANTIATE_TEST_SUITE_P(All, FormatDurationTest, testing::ValuesIn(kFormatted));

TEST(FormatDurationTest, ThreeDigitsOrWholeSecondsReadTheSameAgain) {
  for (const Duration length : {Duration(7us), Duration(250ms), Duration(1500ms), Duration(42s),
                                Duration(90s), Duration(25h), Duration(kForever)}) {
    EXPECT_EQ(ParseDuration(FormatDuration(length)).value_or(-1ns), length);
  }
}

TEST(FormatWallTimeTest, IsRfc3339InUtc) {
  EXPECT_EQ(FormatWallTime(WallTime(0s)), "1970-01-01T00:00:00.000Z");
  EXPECT_EQ(FormatWallTime(WallTime(1'795'227'490'123ms)), "2026-11-21T02:18:10.123Z");
  EXPECT_EQ(FormatWallTime(WallTime(999'999ns)), "1970-01-01T00:00:00.000Z");
}

TEST(AfterTest, NeverAndForeverStayWhatTheyAre) {
  const Instant now(100s);
  EXPECT_EQ(After(now, 5s), Instant(105s));
  EXPECT_EQ(After(now, 0s), now);
  EXPECT_EQ(After(now, kForever), kNever);
  EXPECT_EQ(After(kNever, 0s), kNever);
  EXPECT_EQ(After(kNever, 5s), kNever);
  EXPECT_EQ(After(kNever, kForever), kNever);
  EXPECT_EQ(After(kNever - 1s, 2s), kNever);
}

TEST(DeadlineTest, PassesAtItsInstant) {
  const Deadline deadline(Instant(10s));
  EXPECT_EQ(deadline.at(), Instant(10s));
  EXPECT_FALSE(deadline.Passed(Instant(10s) - 1ns));
  EXPECT_TRUE(deadline.Passed(Instant(10s)));
  EXPECT_EQ(deadline.Remaining(Instant(4s)), 6s);
  EXPECT_EQ(deadline.Remaining(Instant(10s)), 0s);
  EXPECT_EQ(deadline.Remaining(Instant(11s)), 0s);
}

TEST(DeadlineTest, NeverHasNoEnd) {
  EXPECT_FALSE(Deadline().Passed(Instant(1'000'000h)));
  EXPECT_EQ(Deadline().Remaining(Instant(1'000'000h)), kForever);
}

TEST(SecondsTest, GoThereAndBack) {
  EXPECT_EQ(ToSeconds(1500ms), 1.5);
  EXPECT_EQ(FromSeconds(1.5), 1500ms);
  EXPECT_EQ(FromSeconds(0.000000001), 1ns);
}

TEST(SecondsTest, WhatIsALength) {
  const double infinity = std::numeric_limits<double>::infinity();
  for (const double seconds : {0.0, -0.0, 1.5, 1e300, infinity}) EXPECT_TRUE(IsLength(seconds));
  for (const double seconds : {-1e-9, -infinity, std::nan("")}) EXPECT_FALSE(IsLength(seconds));
}

TEST(SecondsTest, WhatIsNoLengthIsClamped) {
  EXPECT_EQ(FromSeconds(-1), 0s);
  EXPECT_EQ(FromSeconds(std::nan("")), 0s);
  EXPECT_EQ(FromSeconds(1e300), kForever);
  EXPECT_EQ(FromSeconds(std::numeric_limits<double>::infinity()), kForever);
  EXPECT_EQ(FromSeconds(-std::numeric_limits<double>::infinity()), 0s);
}

TEST(SteadyClockTest, DoesNotGoBack) {
  const SteadyClock clock;
  const Instant first = clock.Now();
  EXPECT_GE(clock.Now(), first);
  EXPECT_GT(clock.Wall(), WallTime(1'700'000'000s));
}

}  // namespace
}  // namespace lastcall
