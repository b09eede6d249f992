// One call: what it is told, and who hears of it. Without gRPC: a context is only an address here.
#include "lastcall/rpc/live_call.h"

#include <gtest/gtest.h>

#include <barrier>
#include <thread>

#include "fake_context.h"

#include <lastcall/testing/fake_clock.h>

namespace lastcall {
namespace {

using namespace std::chrono_literals;

constexpr char kName[] = "/test.Service/Name";

class LiveCallTest : public testing::Test {
 protected:
  // Its handler has no thread, or never starts: nobody asks for its client.
  std::shared_ptr<LiveCall> Make(const FakeContext& context) {
    return std::make_shared<LiveCall>(context.get(), methods_.Of(kName),
                                      LiveCall::Identity{1, CallKind::kUnary, clock_.Now()}, view_,
                                      watch_);
  }
  static void End(LiveCall& call) {
    call.Returned();
    call.Ended();
  }

  FakeClock clock_;
  TerminationSource termination_;
  const Termination view_ = termination_.view();
  MethodTable methods_;
  ClientWatch watch_;
};

TEST_F(LiveCallTest, ATokenIsStoppedWheneverItWasTaken) {
  const FakeContext context;
  const auto call = Make(context);
  const std::stop_token before = call->token();
  int stops = 0;
  const std::stop_callback counted(before, [&] { ++stops; });
  EXPECT_FALSE(before.stop_requested());
  call->TellToLeave();
  EXPECT_TRUE(before.stop_requested());
  EXPECT_TRUE(call->token().stop_requested());
  EXPECT_EQ(stops, 1);
  End(*call);
  EXPECT_TRUE(before.stop_requested());
}

TEST_F(LiveCallTest, AClientThatIsGoneStopsTheCallButDoesNotMakeItLeave) {
  const FakeContext context;
  const auto call = Make(context);
  int told = 0;
  call->OnLeave([&] { ++told; });
  call->ClientGone();
  EXPECT_TRUE(call->token().stop_requested());
  EXPECT_FALSE(call->leaving());
  call->TellToLeave();
  EXPECT_TRUE(call->leaving());
  EXPECT_EQ(told, 1);
  End(*call);
}

// Whoever works for the client goes on in grace.
TEST_F(LiveCallTest, TheClientIsGoneWhenItIsAndNotWhenItIsTimeToLeave) {
  const FakeContext context;
  const auto call = Make(context);
  const std::stop_token gone = call->gone_token();
  call->TellToLeave();
  EXPECT_FALSE(gone.stop_requested());
  call->ClientGone();
  EXPECT_TRUE(gone.stop_requested());
  EXPECT_TRUE(call->gone_token().stop_requested());
  End(*call);
}

TEST_F(LiveCallTest, ATokenOfAClientThatIsGoneMayBeTakenLate) {
  const FakeContext context;
  const auto call = Make(context);
  call->ClientGone();
  EXPECT_TRUE(call->gone_token().stop_requested());
  End(*call);
}

TEST_F(LiveCallTest, IsToldOnceHoweverOften) {
  const FakeContext context;
  const auto call = Make(context);
  int told = 0;
  call->OnLeave([&] { ++told; });
  EXPECT_FALSE(call->info()->told);
  call->TellToLeave();
  call->TellToLeave();
  call->ClientGone();
  EXPECT_EQ(told, 1);
  EXPECT_TRUE(call->info()->told);
  call->OnLeave([&] { ++told; });
  EXPECT_EQ(told, 2) << "it is told by now: at once";
  End(*call);
  EXPECT_EQ(told, 2);
}

TEST_F(LiveCallTest, ACallbackNeverRunsOnceTheCallHasEnded) {
  const FakeContext context;
  const auto call = Make(context);
  auto held = std::make_shared<int>(0);
  call->OnLeave([held] { ++*held; });
  const std::stop_token token = call->token();
  EXPECT_EQ(held.use_count(), 2);
  End(*call);
  EXPECT_EQ(held.use_count(), 1);  // what it held is let go
  call->TellToLeave();
  call->OnLeave([held] { ++*held; });
  EXPECT_EQ(*held, 0);
  EXPECT_FALSE(token.stop_requested());
  EXPECT_FALSE(call->token().stop_requested());
}

// Else they would run under the lock of the call, and could not ask it anything.
TEST_F(LiveCallTest, StopCallbacksRunInTheThreadThatTellsWhoeverTakesTokensMeanwhile) {
  std::barrier start(2), end(2);
  std::atomic<LiveCall*> told{nullptr};
  std::atomic<bool> begun{false};
  std::jthread teller([&](const std::stop_token& over) {
    for (;;) {
      start.arrive_and_wait();
      if (over.stop_requested()) return;
      while (!begun) std::this_thread::yield();
      told.load()->TellToLeave();
      end.arrive_and_wait();
    }
  });
  for (int round = 0; round < 50'000; ++round) {
    const FakeContext context;
    const auto call = Make(context);
    begun = round % 2 == 0;  // each second time not before a token was taken
    std::thread::id where;
    const std::stop_callback callback(call->token(), [&] { where = std::this_thread::get_id(); });
    told = call.get();
    start.arrive_and_wait();
    for (int n = 0; !call->token().stop_requested(); ++n) {
      begun = true;
      if (n % 30 == 29) std::this_thread::yield();  // the teller may need this very processor
    }
    end.arrive_and_wait();
    End(*call);
    EXPECT_EQ(where, teller.get_id()) << "round " << round;
    if (where != teller.get_id()) break;
  }
  teller.request_stop();
  start.arrive_and_wait();
}

// What a callback holds is others' code, which may ask the call something while it goes.
TEST_F(LiveCallTest, WhatCallbacksHoldGoesOutsideTheLock) {
  const FakeContext context;
  const auto call = Make(context);
  bool stopped = true;
  std::shared_ptr<void> held(nullptr, [&](void*) { stopped = call->token().stop_requested(); });
  call->OnLeave([held = std::move(held)] {});
  End(*call);
  EXPECT_FALSE(stopped);
}

TEST_F(LiveCallTest, SaysWhatIsKnownOfIt) {
  const FakeContext context;
  const auto call = Make(context);
  clock_.Advance(1s);
  call->Started(7);
  call->Returned();  // nobody looks into the context any more
  const CallInfo info = call->info().value();
  EXPECT_EQ(info.method, kName);
  EXPECT_EQ(info.peer, "");
  EXPECT_EQ(info.began, FakeClock::kStart);
  EXPECT_EQ(info.thread, 7);
  EXPECT_EQ(call->context(), context.get());
  call->Ended();
}

TEST_F(LiveCallTest, CancelInstantIsThePlansUntilTheHandlerReturns) {
  const FakeContext context;
  const auto call = Make(context);
  EXPECT_EQ(call->cancel_instant(), kNever);
  termination_.SetPlan({clock_.Now() + 1s, clock_.Now() + 2s, clock_.Now() + 3s});
  EXPECT_EQ(call->cancel_instant(), clock_.Now() + 2s);
  call->Returned();
  EXPECT_EQ(call->cancel_instant(), kNever);
  call->Ended();
}

// A view of it may be kept for as long as one likes.
TEST_F(LiveCallTest, OutlivesWhatItWasGivenOnceItHasEnded) {
  const FakeContext context;
  auto methods = std::make_unique<MethodTable>();
  auto termination = std::make_unique<const Termination>();
  auto watch = std::make_unique<ClientWatch>();
  const auto call = std::make_shared<LiveCall>(
      context.get(), methods->Of(kName), LiveCall::Identity{1, CallKind::kUnary, clock_.Now()},
      *termination, *watch);
  call->Started(7);
  End(*call);
  watch = nullptr;
  termination = nullptr;
  methods = nullptr;
  EXPECT_FALSE(call->token().stop_requested());
  call->OnLeave([] { FAIL(); });
  call->TellToLeave();
  EXPECT_FALSE(call->leaving());
  EXPECT_EQ(call->cancel_instant(), kNever);
}

}  // namespace
}  // namespace lastcall
