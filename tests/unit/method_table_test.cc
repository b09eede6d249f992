// The methods of a server: by name, counted, and no more of them than somebody may invent.
#include "lastcall/rpc/method_table.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <barrier>
#include <string>
#include <thread>
#include <vector>

#include "lastcall/base/safe_text.h"

namespace lastcall {
namespace {

constexpr char kOwnMethod[] = "/test.Service/Method";

class MethodTableTest : public testing::Test {
 protected:
  // A call that begins and ends.
  void Call(const std::string& method) {
    CountedMethod& counted = methods_.Of(method.c_str());
    counted.calls.Enter();
    counted.calls.Leave();
  }
  void Invent(int count) {
    for (int i = 0; i < count; ++i) Call("/invented/" + std::to_string(i));
  }
  // Of that name.
  int64_t Count(const std::string& method) {
    const auto counts = methods_.counts();
    return std::count_if(counts.begin(), counts.end(),
                         [&](const MethodCount& each) { return each.method == method; });
  }

  MethodTable methods_;
};

TEST_F(MethodTableTest, CountsTheCallsOfEach) {
  CountedMethod& a = methods_.Of("/s/A");
  CountedMethod& b = methods_.Of("/s/B");
  EXPECT_NE(&a, &b);
  EXPECT_EQ(&methods_.Of("/s/B"), &b);
  for (CountedMethod* each : {&a, &b, &b}) each->calls.Enter();
  b.calls.Leave();
  const auto counts = methods_.counts();
  ASSERT_EQ(counts.size(), 2u);
  EXPECT_EQ(counts[0].method, "/s/A");
  EXPECT_EQ(counts[0].in_flight, 1);
  EXPECT_EQ(counts[1].method, "/s/B");
  EXPECT_EQ(counts[1].in_flight, 1);
  EXPECT_EQ(counts[1].total, 2u);
}

TEST_F(MethodTableTest, EachMethodIsReportedByItsOwnRuleOrItsServers) {
  methods_.Add("/s/Own");
  methods_.Add("/s/Other");
  ASSERT_TRUE(methods_.SetStalls({.after = std::chrono::seconds(7),
                                  .methods = {{"/s/Own", {std::chrono::seconds(3), "", 0}}}}));
  EXPECT_EQ(methods_.Of("/s/Own").stall.after, std::chrono::seconds(3));
  EXPECT_TRUE(methods_.Of("/s/Own").stall.own);
  for (const char* name : {"/s/Other", "/invented/Name"}) {
    EXPECT_EQ(methods_.Of(name).stall.after, std::chrono::seconds(7));
    EXPECT_FALSE(methods_.Of(name).stall.own);
  }
}

TEST_F(MethodTableTest, ARuleForAMethodThatIsNotThereIsRefusedWithItsPlace) {
  methods_.Add("/shop.Prices/Watch");
  const auto set = methods_.SetStalls(
      {.methods = {{"/shop.Prices/Wacth", {std::chrono::seconds(3), "a.toml", 7}}}});
  ASSERT_FALSE(set);
  EXPECT_EQ(set.error().message,
            "a.toml:7: the server has no method /shop.Prices/Wacth; did you mean "
            "\"/shop.Prices/Watch\"?");
}

// Each method that was added has its own share, and the invented ones have one together.
TEST_F(MethodTableTest, WhatIsRememberedOfFinishedCallsIsSharedOut) {
  methods_.Add("/s/A");
  methods_.Add("/s/B");
  methods_.BoundFinished(30);
  for (int i = 0; i < 50; ++i) {
    for (const std::string& name :
         {std::string("/s/A"), std::string("/s/B"), "/invented/" + std::to_string(i)}) {
      methods_.Of(name.c_str()).finished.Add({.status = 12, .duration = std::chrono::seconds(i)});
    }
  }
  const auto finished = methods_.finished();
  ASSERT_EQ(finished.size(), 3u);
  for (const FinishedMethod& each : finished) {
    EXPECT_EQ(each.failed, 50u);
    EXPECT_EQ(each.slowest.size() + each.failures.size(), 10u);
  }
  EXPECT_EQ(finished[2].method, "(others)");
}

TEST_F(MethodTableTest, NamesThatPeersInventAreBounded) {
  Invent(1500);
  const auto counts = methods_.counts();
  EXPECT_EQ(counts.size(), 1001u);
  const auto others = std::find_if(counts.begin(), counts.end(),
                                   [](const auto& each) { return each.method == "(others)"; });
  ASSERT_NE(others, counts.end());
  EXPECT_EQ(others->total, 500u);
  // One that is known keeps its own count.
  EXPECT_EQ(methods_.Of("/invented/7").name, "/invented/7");
}

TEST_F(MethodTableTest, NamesThatAreNoTextAreMadeSafe) {
  Call("/a/\xff\n");
  Call(std::string(5000, 'x'));
  const auto counts = methods_.counts();
  ASSERT_EQ(counts.size(), 2u);
  EXPECT_EQ(counts[0].method, "/a/\\xff\\n");
  EXPECT_EQ(counts[1].method.size(), kMaxSafeName);
  for (const MethodCount& each : counts) EXPECT_TRUE(IsSafeText(each.method)) << each.method;
  // The same again, for which nothing new is kept.
  Call("/a/\xff\n");
  EXPECT_EQ(methods_.counts().size(), 2u);
  EXPECT_EQ(methods_.counts()[0].total, 2u);
}

TEST_F(MethodTableTest, ThoseThatAreAddedKeepTheirNamesWhateverIsInvented) {
  methods_.Add(kOwnMethod);
  EXPECT_TRUE(methods_.counts().empty()) << "nobody has called it";
  Invent(1500);
  Call(kOwnMethod);
  EXPECT_EQ(methods_.counts().size(), 1002u);
  EXPECT_EQ(Count(kOwnMethod), 1);
}

TEST_F(MethodTableTest, AllThreadsFindTheSameMethodWhoeverIsFirst) {
  constexpr int kThreads = 4;
  constexpr uint64_t kNames = 1200;  // more than are told apart
  std::barrier start(kThreads);
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < kThreads; ++i) {
      threads.emplace_back([&] {
        start.arrive_and_wait();
        Invent(kNames);
      });
    }
  }
  uint64_t total = 0;
  for (const MethodCount& each : methods_.counts()) {
    EXPECT_EQ(each.in_flight, 0);
    EXPECT_EQ(each.total, each.method == "(others)" ? kThreads * (kNames - 1000) : kThreads);
    total += each.total;
  }
  EXPECT_EQ(total, kThreads * kNames);
}

}  // namespace
}  // namespace lastcall
