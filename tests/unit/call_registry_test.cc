// The calls in flight of one server: counted, found, listed. Without gRPC: a context is only an address
// here.
#include "lastcall/rpc/call_registry.h"

#include <gmock/gmock.h>
#include <grpcpp/support/status.h>

#include <functional>
#include <utility>
#include <vector>

#include "fake_context.h"
#include "lastcall/rpc/call.h"
#include "lastcall/rpc/call_directory.h"
#include "lastcall/rpc/live_call.h"

#include <lastcall/testing/fake_clock.h>

namespace lastcall {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;

constexpr char kMethod[] = "/test.Service/Method";

class CallRegistryTest : public testing::Test {
 protected:
  // Its handler never starts: so nobody looks into the context.
  std::shared_ptr<LiveCall> Begin(const FakeContext& context, const char* method = kMethod) {
    return calls_.Begin(context.get(), calls_.Method(method), CallKind::kUnary);
  }
  void End(LiveCall& call) {
    call.Returned();
    calls_.End(call);
  }

  FakeClock clock_;
  TerminationSource termination_;
  std::atomic<int> idle_{0};
  CallRegistry calls_{clock_, termination_.view(), [this] { ++idle_; }};
};

TEST_F(CallRegistryTest, CountsByMethodAndInAll) {
  const FakeContext one, two, three;
  const auto a = Begin(one, "/s/A"), b = Begin(two, "/s/B");
  clock_.Advance(1s);
  const auto c = Begin(three, "/s/B");
  EXPECT_EQ(calls_.in_flight(), 3);
  EXPECT_EQ(calls_.total(), 3u);
  EXPECT_EQ(calls_.last_began(), clock_.Now());
  End(*b);
  EXPECT_EQ(calls_.in_flight(), 2);
  EXPECT_EQ(calls_.total(), 3u);
  const auto methods = calls_.methods();
  ASSERT_EQ(methods.size(), 2u);
  EXPECT_EQ(methods[0].method, "/s/A");
  EXPECT_EQ(methods[0].in_flight, 1);
  EXPECT_EQ(methods[1].method, "/s/B");
  EXPECT_EQ(methods[1].in_flight, 1);
  EXPECT_EQ(methods[1].total, 2u);
  End(*a);
  End(*c);
  EXPECT_EQ(calls_.in_flight(), 0);
}

TEST_F(CallRegistryTest, ReportsTheOldestFirstUpToTheLimit) {
  const FakeContext contexts[3];
  std::vector<std::shared_ptr<LiveCall>> living;
  for (const char* method : {"/s/1", "/s/2", "/s/3"}) {
    living.push_back(Begin(contexts[living.size()], method));
    clock_.Advance(1s);
  }
  const auto two = calls_.Calls(2);
  ASSERT_EQ(two.size(), 2u);
  EXPECT_EQ(two[0].method, "/s/1");
  EXPECT_EQ(two[1].method, "/s/2");
  EXPECT_EQ(two[0].peer, "");
  EXPECT_EQ(two[0].thread, 0);
  EXPECT_EQ(clock_.Now() - two[0].began, 3s);
  EXPECT_FALSE(two[0].told);
  EXPECT_EQ(calls_.Calls(0).size(), 0u);
  EXPECT_EQ(calls_.Calls(100).size(), 3u);
  for (const auto& call : living) End(*call);
  EXPECT_TRUE(calls_.Calls(100).empty());
}

TEST_F(CallRegistryTest, ACallIsFoundByItsContextUntilItEnds) {
  const FakeContext context;
  EXPECT_EQ(CallDirectory::Find(context.get()), nullptr);
  const auto call = Begin(context);
  EXPECT_EQ(CallDirectory::Find(context.get()), call);
  call->Returned();
  EXPECT_EQ(CallDirectory::Find(context.get()), call);
  calls_.End(*call);
  EXPECT_EQ(CallDirectory::Find(context.get()), nullptr);
}

// gRPC may give a context's memory to the next call before the last one's end was told.
TEST_F(CallRegistryTest, AReusedContextBelongsToItsNewCall) {
  const FakeContext context;
  const auto old = Begin(context);
  old->Started(7);
  const auto young = Begin(context);
  // Nobody looks into the memory for the old one, though its handler's return was not told.
  const auto both = calls_.Calls(10);
  ASSERT_EQ(both.size(), 2u);
  EXPECT_EQ(both[0].peer, "");
  EXPECT_EQ(both[1].peer, "");
  End(*old);
  EXPECT_EQ(CallDirectory::Find(context.get()), young);
  EXPECT_EQ(calls_.in_flight(), 1);
  End(*young);
  EXPECT_EQ(CallDirectory::Find(context.get()), nullptr);
}

TEST_F(CallRegistryTest, RegistriesDoNotSeeEachOthersCalls) {
  CallRegistry other(clock_, Termination(), nullptr);
  const FakeContext here, there;
  const auto mine = Begin(here);
  const auto theirs = other.Begin(there.get(), other.Method(kMethod), CallKind::kUnary);
  EXPECT_THAT(calls_.living().Snapshot(), ElementsAre(mine));
  EXPECT_THAT(other.living().Snapshot(), ElementsAre(theirs));
  EXPECT_EQ(calls_.Calls(10).size(), 1u);
  EXPECT_EQ(other.Calls(10).size(), 1u);
  End(*mine);
  EXPECT_EQ(other.in_flight(), 1);
  other.End(*theirs);
}

TEST_F(CallRegistryTest, MethodsThatAreAddedAreToldApart) {
  calls_.AddMethod(kMethod);
  EXPECT_TRUE(calls_.methods().empty()) << "nobody has called it";
  const FakeContext context;
  for (int i = 0; i < 1500; ++i) End(*Begin(context, ("/invented/" + std::to_string(i)).c_str()));
  const auto call = Begin(context);
  EXPECT_EQ(calls_.methods().size(), 1002u);
  EXPECT_EQ(calls_.Calls(1)[0].method, kMethod);
  EXPECT_EQ(calls_.total(), 1501u);
  End(*call);
}

TEST_F(CallRegistryTest, IdleIsToldOnceWatched) {
  const FakeContext context;
  End(*Begin(context));
  EXPECT_EQ(idle_, 0);
  const auto call = Begin(context);
  calls_.WatchIdle();
  EXPECT_EQ(idle_, 0);
  End(*call);
  EXPECT_EQ(idle_, 1);
}

// What a callback holds may be of a plugin, which goes when nothing is in flight.
TEST_F(CallRegistryTest, WhatCallbacksHoldGoesBeforeTheCallIsOver) {
  const FakeContext context;
  const auto call = Begin(context);
  int64_t in_flight = 0;
  std::shared_ptr<void> held(nullptr, [&](void*) { in_flight = calls_.in_flight(); });
  call->OnLeave([held = std::move(held)] {});
  End(*call);
  EXPECT_EQ(in_flight, 1);
}

TEST_F(CallRegistryTest, NewcomersAreToldAtOnceAndThoseWhoAreThereAreNot) {
  const FakeContext one, two;
  const auto before = Begin(one);
  calls_.TellNewcomers();
  const auto after = Begin(two);
  EXPECT_FALSE(before->leaving());
  EXPECT_TRUE(after->leaving());
  EXPECT_TRUE(after->token().stop_requested());
  bool told = false;
  after->OnLeave([&] { told = true; });
  EXPECT_TRUE(told);
  End(*before);
  End(*after);
}

// Something happens while a call begins.
class InterruptingClock final : public Clock {
 public:
  Instant Now() const override {
    if (interruption) std::exchange(interruption, nullptr)();
    return FakeClock::kStart;
  }
  WallTime Wall() const override { return FakeClock::kStartWall; }

  mutable std::function<void()> interruption;
};

// Whoever tells everybody relies on it: nobody falls between the two.
TEST(CallRegistryRaceTest, WhoIsJustBeginningAndNotInTheSnapshotIsToldAtOnce) {
  const InterruptingClock clock;
  CallRegistry calls(clock, Termination(), nullptr);
  const FakeContext one, two;
  const auto before = calls.Begin(one.get(), calls.Method(kMethod), CallKind::kUnary);
  clock.interruption = [&] {
    calls.TellNewcomers();
    EXPECT_THAT(calls.living().Snapshot(), ElementsAre(before));
  };
  const auto beginning = calls.Begin(two.get(), calls.Method(kMethod), CallKind::kUnary);
  EXPECT_FALSE(before->leaving());
  EXPECT_TRUE(beginning->leaving());
  calls.End(*before);
  calls.End(*beginning);
}

// The teller may hold a call that ends meanwhile.
TEST_F(CallRegistryTest, AViewOfACallThatEndedStaysAsItWas) {
  const FakeContext context;
  const auto live = Begin(context);
  const Call call = Call::Of(*context);
  End(*live);
  live->TellToLeave();
  EXPECT_FALSE(call.leaving());
}

TEST_F(CallRegistryTest, AViewKnowsThePlanUntilTheHandlerReturns) {
  const FakeContext context;
  const auto live = Begin(context);
  const Call call = Call::Of(*context);
  termination_.SetPlan({clock_.Now() + 1s, clock_.Now() + 2s, clock_.Now() + 3s});
  EXPECT_EQ(call.cancel_instant(), clock_.Now() + 2s);
  End(*live);
  EXPECT_EQ(call.cancel_instant(), kNever);
}

TEST_F(CallRegistryTest, OutsideAHostACallNeverLeaves) {
  const FakeContext context;
  const Call call = Call::Of(*context);
  EXPECT_FALSE(call.leaving());
  EXPECT_FALSE(call.leave_token().stop_possible());
  EXPECT_EQ(call.cancel_instant(), kNever);
  call.OnLeave([] { FAIL(); });
  EXPECT_EQ(call.LeaveStatus().error_code(), grpc::StatusCode::UNAVAILABLE);
}

}  // namespace
}  // namespace lastcall
