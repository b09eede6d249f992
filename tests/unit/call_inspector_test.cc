// Looking at calls from beside, and cancelling them. Without gRPC: the calls never start, so nobody
// looks into their contexts.
#include "lastcall/host/call_inspector.h"

#include <gmock/gmock.h>

#include <future>
#include <list>

#include "fake_context.h"
#include "lastcall/rpc/live_call.h"

#include <lastcall/testing/fake_clock.h>

namespace lastcall {
namespace {

using namespace std::chrono_literals;

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

class CallInspectorTest : public testing::Test {
 protected:
  ~CallInspectorTest() override {
    for (const auto& [registry, call] : begun_) registry->End(*call);
  }
  std::shared_ptr<LiveCall> Begin(CallRegistry& calls, const char* method) {
    clock_.Advance(1s);
    auto call =
        calls.Begin(contexts_.emplace_back().get(), calls.Method(method), CallKind::kServerStream);
    begun_.emplace_back(&calls, call);
    return call;
  }
  // All parts.
  std::vector<CallsPart> List(CallFilter filter = {}, size_t limit = 0, size_t room = 1000) {
    std::vector<CallsPart> parts;
    std::promise<void> complete;
    inspector_.List(std::move(filter), limit, [&](CallsPart part) {
      const bool last = part.complete;
      parts.push_back(std::move(part));
      const bool more = parts.size() < room;
      if (last) complete.set_value();  // nothing of the test's after it
      return more;
    });
    complete.get_future().wait();
    return parts;
  }
  std::vector<std::string> Methods(CallFilter filter = {}, size_t limit = 0) {
    std::vector<std::string> methods;
    for (const CallsPart& part : List(std::move(filter), limit)) {
      for (const ListedCall& each : part.calls) methods.push_back(each.call.method);
    }
    return methods;
  }
  std::optional<CallDetails> Find(uint64_t number) {
    std::promise<std::optional<CallDetails>> found;
    inspector_.Find(number, [&](std::optional<CallDetails> call) { found.set_value(call); });
    return found.get_future().get();
  }
  CallsCancelled Cancel(const CallChoice& choice, bool dry_run) {
    std::promise<CallsCancelled> done;
    inspector_.Cancel(choice, "why", dry_run, [&](CallsCancelled it) { done.set_value(it); });
    return done.get_future().get();
  }
  void InspectBoth() { inspector_.Inspect({{"one", &one_}, {"two", &two_}}); }

  FakeClock clock_;
  std::list<FakeContext> contexts_;
  CallRegistry one_{clock_, Termination(), [] {}};
  CallRegistry two_{clock_, Termination(), [] {}};
  std::vector<std::pair<CallRegistry*, std::shared_ptr<LiveCall>>> begun_;
  CallInspector inspector_{
      {.clock = clock_, .log = [](LogLevel, std::string_view) {}, .process = "main"}};
};

TEST_F(CallInspectorTest, ListsTheCallsOfAllServersOldestFirst) {
  EXPECT_THAT(Methods(), IsEmpty());
  InspectBoth();
  Begin(two_, "/s/First");
  Begin(one_, "/s/Second");
  Begin(two_, "/s/Third");
  EXPECT_THAT(Methods(), ElementsAre("/s/First", "/s/Second", "/s/Third"));
}

TEST_F(CallInspectorTest, NoTwoCallsHaveOneNumberAndEachIsFoundByIts) {
  InspectBoth();
  for (int i = 0; i < 3; ++i) {
    Begin(one_, "/s/One");
    Begin(two_, "/s/Two");
  }
  std::set<uint64_t> numbers;
  const auto parts = List();
  for (const ListedCall& each : parts.front().calls) {
    numbers.insert(each.call.number);
    const auto found = Find(each.call.number);
    ASSERT_TRUE(found);
    EXPECT_EQ(found->listed.call.method, each.call.method);
    EXPECT_EQ(found->listed.server, each.server);
    EXPECT_NE(found->no_stack, "");
  }
  EXPECT_THAT(numbers, SizeIs(6));
  EXPECT_FALSE(Find(4711));
}

TEST_F(CallInspectorTest, AFilterLetsThroughWhatHasAllOfIt) {
  InspectBoth();
  Begin(one_, "/shop.Prices/Get");
  Begin(two_, "/shop.Prices/Watch");
  Begin(one_, "/shop.Stock/Watch");
  EXPECT_THAT(Methods({.server = "one"}), ElementsAre("/shop.Prices/Get", "/shop.Stock/Watch"));
  EXPECT_THAT(Methods({.method = "/shop.Prices/*"}),
              ElementsAre("/shop.Prices/Get", "/shop.Prices/Watch"));
  EXPECT_THAT(Methods({.method = "*/Watch", .older = 1s}), ElementsAre("/shop.Prices/Watch"));
  EXPECT_THAT(Methods({.server = "one", .method = "*/Watch"}), ElementsAre("/shop.Stock/Watch"));
  EXPECT_THAT(Methods({.client = "10.*"}), IsEmpty());
  EXPECT_THAT(Methods({.server = "three"}), IsEmpty());
}

TEST_F(CallInspectorTest, WhatIsBeyondALimitIsCounted) {
  InspectBoth();
  for (int i = 0; i < 5; ++i) Begin(one_, "/s/M");
  const auto parts = List({}, 2);
  ASSERT_THAT(parts, SizeIs(1));
  EXPECT_THAT(parts[0].calls, SizeIs(2));
  EXPECT_EQ(parts[0].left_out, 3u);
}

TEST_F(CallInspectorTest, ManyComeInPartsUntilThereIsNoRoom) {
  inspector_.Inspect({{"one", &one_}});
  for (size_t i = 0; i < 2 * CallInspector::kPart + 1; ++i) Begin(one_, "/s/M");
  const auto all = List();
  ASSERT_THAT(all, SizeIs(3));
  EXPECT_THAT(all[0].calls, SizeIs(CallInspector::kPart));
  EXPECT_FALSE(all[0].complete);
  EXPECT_THAT(all[2].calls, SizeIs(1));
  EXPECT_TRUE(all[2].complete);
  EXPECT_EQ(all[2].left_out, 0u);

  const auto some = List({}, 0, 1);
  ASSERT_THAT(some, SizeIs(2));
  EXPECT_THAT(some[1].calls, IsEmpty());
  EXPECT_EQ(some[1].left_out, CallInspector::kPart + 1);
}

TEST_F(CallInspectorTest, OnceTheyAreNoLongerItsNobodyLooksAtThem) {
  auto gone = std::make_unique<CallRegistry>(clock_, Termination(), [] {});
  inspector_.Inspect({{"gone", gone.get()}});
  const auto call =
      gone->Begin(contexts_.emplace_back().get(), gone->Method("/s/M"), CallKind::kUnary);
  EXPECT_THAT(Methods(), ElementsAre("/s/M"));
  gone->End(*call);
  inspector_.Inspect({});
  gone = nullptr;
  EXPECT_THAT(Methods(), IsEmpty());
}

TEST_F(CallInspectorTest, ADryRunCountsWhatWouldBeCancelled) {
  InspectBoth();
  Begin(one_, "/s/A");
  Begin(two_, "/s/A");
  Begin(two_, "/s/B");
  EXPECT_EQ(Cancel({.numbers = {}, .filter = {.method = "/s/A"}}, true).cancelled, 2u);
  const uint64_t number = List().front().calls[0].call.number;
  const CallsCancelled done = Cancel({.numbers = {number, 4711}, .filter = {}}, true);
  EXPECT_EQ(done.cancelled, 1u);
  EXPECT_THAT(done.not_in_flight, ElementsAre(4711));
}

// gRPC knows nothing of it yet.
TEST_F(CallInspectorTest, WhatHasNotBegunForGrpcCannotBeCancelled) {
  inspector_.Inspect({{"one", &one_}});
  Begin(one_, "/s/A");
  const uint64_t number = List().front().calls[0].call.number;
  const CallsCancelled done = Cancel({.numbers = {number}, .filter = {}}, false);
  EXPECT_EQ(done.cancelled, 0u);
  EXPECT_THAT(done.not_in_flight, ElementsAre(number));
}

TEST_F(CallInspectorTest, FinishedCallsGoByTheSameNumbers) {
  one_.AddMethod("/s/Own");
  one_.BoundFinished(100);
  InspectBoth();
  const auto call = Begin(one_, "/s/Own");
  call->method().finished.Add({.number = call->number(), .status = 5, .duration = 3s});
  const uint64_t number = List().front().calls[0].call.number;
  std::vector<FinishedPart> parts;
  std::promise<void> complete;
  inspector_.ListFinished({.method = "/s/*"}, [&](FinishedPart part) {
    const bool last = part.complete;
    parts.push_back(std::move(part));
    if (last) complete.set_value();
    return true;  // nothing of the test's after it
  });
  complete.get_future().wait();
  ASSERT_THAT(parts, SizeIs(2));
  EXPECT_EQ(parts[0].server, "one");
  EXPECT_EQ(parts[0].method.method, "/s/Own");
  EXPECT_EQ(parts[0].method.failed, 1u);
  EXPECT_EQ(parts[0].method.failures.at(0).number, number);
}

}  // namespace
}  // namespace lastcall
