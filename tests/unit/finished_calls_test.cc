// What is remembered of calls that are over: bounded, and the right ones.
#include "lastcall/rpc/finished_calls.h"

#include <gmock/gmock.h>

#include <string>
#include <thread>
#include <vector>

namespace lastcall {
namespace {

using namespace std::chrono_literals;

using testing::Each;
using testing::ElementsAre;
using testing::Field;
using testing::IsEmpty;
using testing::SizeIs;

class FinishedCallsTest : public testing::Test {
 protected:
  FinishedCallsTest() { calls_.Bound(1000); }

  void Finish(Duration duration, int status = 0) {
    if (!calls_.Wants(duration, status != 0)) return;
    calls_.Add({.number = ++last_, .client = "c", .status = status, .duration = duration});
  }
  std::vector<Duration> Slowest() const {
    std::vector<Duration> durations;
    for (const FinishedCall& call : calls_.seen().slowest) durations.push_back(call.duration);
    return durations;
  }
  std::vector<uint64_t> Failures() const {
    std::vector<uint64_t> numbers;
    for (const FinishedCall& call : calls_.seen().failures) numbers.push_back(call.number);
    return numbers;
  }

  FinishedCalls calls_;
  uint64_t last_ = 0;
};

TEST_F(FinishedCallsTest, KeepsTheSlowestSlowestFirst) {
  for (const Duration each : {3s, 1s, 2s}) Finish(each);
  EXPECT_THAT(Slowest(), ElementsAre(3s, 2s, 1s));
  for (int i = 10; i < 50; ++i) Finish(std::chrono::seconds(i));
  EXPECT_THAT(Slowest(), ElementsAre(49s, 48s, 47s, 46s, 45s, 44s, 43s, 42s, 41s, 40s));
  Finish(1h);
  EXPECT_EQ(Slowest().front(), 1h);
  EXPECT_EQ(Slowest().back(), 41s);
}

TEST_F(FinishedCallsTest, WhatIsNeitherSlowNorFailedIsNotWanted) {
  EXPECT_TRUE(calls_.Wants(0s, false));
  for (int i = 1; i <= 10; ++i) Finish(std::chrono::seconds(i));
  EXPECT_FALSE(calls_.Wants(1s, false));
  EXPECT_TRUE(calls_.Wants(1s, true));
  EXPECT_TRUE(calls_.Wants(2s, false));
}

TEST_F(FinishedCallsTest, KeepsTheLastThatFailedAndCountsAll) {
  for (int i = 0; i < 250; ++i) Finish(1ms, 13);
  const FinishedMethod seen = calls_.seen();
  EXPECT_EQ(seen.failed, 250u);
  ASSERT_THAT(seen.failures, SizeIs(FinishedCalls::kMostFailures));
  EXPECT_EQ(seen.failures.front().number, 250u);
  EXPECT_EQ(seen.failures.back().number, 151u);
  for (size_t i = 1; i < seen.failures.size(); ++i) {
    EXPECT_EQ(seen.failures[i].number + 1, seen.failures[i - 1].number);
  }
}

TEST_F(FinishedCallsTest, AFewFailuresAreTheLatestFirst) {
  for (int i = 0; i < 3; ++i) Finish(1ms, 5);
  EXPECT_THAT(Failures(), ElementsAre(3, 2, 1));
}

TEST_F(FinishedCallsTest, TextsAreSafeAndCut) {
  calls_.Add({.client = std::string(5000, 'c'),
              .status = 2,
              .message = "\x1b[31m" + std::string(5000, 'm')});
  const FinishedMethod seen = calls_.seen();
  EXPECT_LE(seen.failures[0].client.size(), FinishedCalls::kMaxClient);
  EXPECT_LE(seen.failures[0].message.size(), FinishedCalls::kMaxMessage);
  EXPECT_TRUE(seen.failures[0].message.starts_with("\\x1b[31m"));
}

TEST(FinishedCallsBoundTest, KeepsNoMoreThanItWasAllowed) {
  for (const size_t bound : {0, 1, 2, 7, 50}) {
    FinishedCalls calls;
    calls.Bound(bound);
    for (int i = 0; i < 500; ++i) {
      if (calls.Wants(std::chrono::seconds(i), true)) {
        calls.Add({.status = 1, .duration = std::chrono::seconds(i)});
      }
    }
    const FinishedMethod seen = calls.seen();
    EXPECT_EQ(seen.slowest.size() + seen.failures.size(), bound);
    EXPECT_EQ(seen.failed, 500u);
  }
}

TEST(FinishedCallsBoundTest, BeforeThatItKeepsNothingAndCounts) {
  FinishedCalls calls;
  EXPECT_FALSE(calls.Wants(1h, false));
  calls.Add({.status = 1});
  EXPECT_EQ(calls.seen().failed, 1u);
  EXPECT_THAT(calls.seen().slowest, IsEmpty());
  EXPECT_THAT(calls.seen().failures, IsEmpty());
}

TEST_F(FinishedCallsTest, ManyThreadsFinishAtOnce) {
  constexpr int kThreads = 4, kEach = 2000;
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < kThreads; ++t) {
      threads.emplace_back([&, t] {
        for (int i = 0; i < kEach; ++i) {
          const auto duration = std::chrono::microseconds(i * kThreads + t);
          if (calls_.Wants(duration, i % 2 == 0)) {
            calls_.Add({.status = i % 2 == 0 ? 1 : 0, .duration = duration});
          }
        }
      });
    }
  }
  const FinishedMethod seen = calls_.seen();
  EXPECT_EQ(seen.failed, kThreads * kEach / 2u);
  const auto longest = std::chrono::microseconds(kThreads * kEach - 1);
  EXPECT_EQ(seen.slowest.front().duration, longest);
  for (size_t i = 1; i < seen.slowest.size(); ++i) {
    EXPECT_EQ(seen.slowest[i].duration, longest - std::chrono::microseconds(i));
  }
}

}  // namespace
}  // namespace lastcall
