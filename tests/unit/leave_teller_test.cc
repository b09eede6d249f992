// Everybody is told to leave: in his turn, once, and also who comes meanwhile.
#include "lastcall/rpc/leave_teller.h"

#include <gmock/gmock.h>

#include <barrier>
#include <optional>
#include <thread>

#include "fake_context.h"
#include "lastcall/event/latch.h"
#include "lastcall/rpc/call_directory.h"
#include "lastcall/rpc/call_registry.h"
#include "lastcall/rpc/live_call.h"

#include <lastcall/testing/fake_clock.h>

namespace lastcall {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;

constexpr char kAnyMethod[] = "/test.Service/Any";

class LeaveTellerTest : public testing::Test {
 protected:
  // Its handler never starts: so nobody looks into the context.
  std::shared_ptr<LiveCall> Begin(const FakeContext& context, const char* method = kAnyMethod) {
    return calls_.Begin(context.get(), calls_.Method(method), CallKind::kUnary);
  }
  void End(LiveCall& call) {
    call.Returned();
    calls_.End(call);
  }
  // Tells everybody, and waits until that is done.
  void Leave() {
    const FakeContext last;
    clock_.Advance(1ns);  // it is the youngest: told last
    const auto call = Begin(last);
    call->OnLeave([&] { left_.Set(); });
    teller_.Begin(LeaveSpread::Within(clock_.Now(), clock_.Now()));
    left_.Wait();
    End(*call);
  }

  FakeClock clock_;
  TerminationSource termination_;
  Latch left_;  // outlives the thread that sets it
  std::atomic<int> idle_{0};
  CallRegistry calls_{clock_, termination_.view(), [this] { ++idle_; }};
  LeaveTeller teller_{clock_, termination_.view(), calls_};
};

TEST_F(LeaveTellerTest, EveryCallIsToldToLeaveOldestFirst) {
  const FakeContext contexts[4];
  std::vector<std::shared_ptr<LiveCall>> living;
  std::vector<int> told;
  for (int i = 0; i < 4; ++i) {
    living.push_back(Begin(contexts[i]));
    living.back()->OnLeave([&told, i] { told.push_back(i); });
    clock_.Advance(1s);
  }
  Leave();
  EXPECT_THAT(told, ElementsAre(0, 1, 2, 3));
  for (const auto& call : living) {
    EXPECT_TRUE(call->leaving());
    EXPECT_TRUE(call->token().stop_requested());
    End(*call);
  }
}

TEST_F(LeaveTellerTest, ACallIsToldOnceHoweverOftenEverybodyIs) {
  const FakeContext context;
  const auto call = Begin(context);
  int told = 0;
  call->OnLeave([&] { ++told; });
  Leave();
  teller_.Begin(LeaveSpread::Within(clock_.Now(), clock_.Now()));
  call->TellToLeave();
  call->ClientGone();
  EXPECT_EQ(told, 1);
  EXPECT_TRUE(calls_.Calls(1)[0].told);
  End(*call);
  EXPECT_EQ(told, 1);
}

TEST_F(LeaveTellerTest, WhoBeginsAfterItHasIsToldAtOnce) {
  teller_.Begin(LeaveSpread::Within(clock_.Now(), clock_.Now()));
  const FakeContext context;
  const auto call = Begin(context);
  EXPECT_TRUE(call->leaving());
  End(*call);
}

// In a long grace nobody is told for a while: newcomers are not either.
TEST_F(LeaveTellerTest, NobodyIsToldBeforeTheTimeComes) {
  teller_.Begin(LeaveSpread::Within(clock_.Now() + 1h, clock_.Now() + 2h));
  const FakeContext context;
  const auto call = Begin(context);
  EXPECT_FALSE(call->leaving());
  teller_.Begin(LeaveSpread::Within(clock_.Now(), clock_.Now()));
  EXPECT_FALSE(call->leaving()) << "the second is ignored";
  End(*call);
}

TEST_F(LeaveTellerTest, CallsOfAnotherServerAreNotTold) {
  CallRegistry other(clock_, Termination(), nullptr);
  const FakeContext here, there;
  const auto mine = Begin(here);
  const auto theirs = other.Begin(there.get(), other.Method(kAnyMethod), CallKind::kUnary);
  Leave();
  EXPECT_TRUE(mine->leaving());
  EXPECT_FALSE(theirs->leaving());
  End(*mine);
  theirs->Returned();
  other.End(*theirs);
}

// Half of grace may be minutes: who goes does not wait for them.
TEST_F(LeaveTellerTest, EndsInTheMiddleOfTelling) {
  const SteadyClock steady;
  CallRegistry calls(steady, Termination(), nullptr);
  std::optional<LeaveTeller> teller(std::in_place, steady, Termination(), calls);
  const FakeContext contexts[3];
  std::vector<std::shared_ptr<LiveCall>> living;
  Latch told;
  for (const FakeContext& context : contexts) {
    living.push_back(calls.Begin(context.get(), calls.Method(kAnyMethod), CallKind::kUnary));
    living.back()->OnLeave([&] { told.Set(); });
  }
  teller->Begin(LeaveSpread::Within(steady.Now(), steady.Now() + 1h));
  told.Wait();  // the first has its turn at once, the second in twenty minutes
  teller.reset();
  for (const auto& call : living) calls.End(*call);
  EXPECT_FALSE(living[1]->leaving());
  EXPECT_FALSE(living[2]->leaving());
}

// Nearer than the turns that were planned: who waits for his has another one.
TEST_F(LeaveTellerTest, TurnsFollowThePlan) {
  const SteadyClock steady;
  const Instant now = steady.Now();
  TerminationSource termination;
  termination.SetPlan({.grace = now, .cancel = now + 10h, .end = now + 11h});
  CallRegistry calls(steady, termination.view(), nullptr);
  const FakeContext contexts[3];
  std::vector<std::shared_ptr<LiveCall>> living;
  Latch told[3];
  for (int i = 0; i < 3; ++i) {
    living.push_back(calls.Begin(contexts[i].get(), calls.Method(kAnyMethod), CallKind::kUnary));
    living.back()->OnLeave([&, i] { told[i].Set(); });
  }
  LeaveTeller teller(steady, termination.view(), calls);
  teller.Begin(LeaveSpread(now, now + 10h, 0h));
  told[0].Wait();
  EXPECT_FALSE(living[1]->leaving());
  termination.SetPlan({.grace = now, .cancel = now, .end = now});
  told[1].Wait();
  told[2].Wait();
  for (const auto& call : living) calls.End(*call);
}

// Calls begin and end in every thread while everybody is told to leave.
TEST_F(LeaveTellerTest, CountsStayExactAndNobodyIsToldTwiceWhateverRaces) {
  constexpr int kThreads = 6, kCalls = 400;
  std::barrier start(kThreads + 1);
  // Shared: the leaver may tell of the last call when this has returned.
  const auto told = std::make_shared<std::atomic<int>>(0);
  std::atomic<int> ended_untold{0};
  calls_.WatchIdle();
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < kThreads; ++i) {
      threads.emplace_back([&] {
        start.arrive_and_wait();
        for (int n = 0; n < kCalls; ++n) {
          const FakeContext context;
          const auto call = Begin(context, n % 2 == 0 ? "/s/even" : "/s/odd");
          auto times = std::make_shared<std::atomic<int>>(0);
          call->OnLeave([times, told] {
            ++*told;  // first: whoever sees `times` counts on it
            EXPECT_EQ(++*times, 1);
          });
          const std::stop_token token = call->token();
          (void)calls_.Calls(3);
          EXPECT_EQ(CallDirectory::Find(context.get()), call);
          End(*call);
          if (*times == 0) ++ended_untold;
        }
      });
    }
    start.arrive_and_wait();
    // The first calls race with it; whatever comes after it is told.
    while (calls_.total() < kCalls) std::this_thread::yield();
    teller_.Begin(LeaveSpread::Within(clock_.Now(), clock_.Now()));
  }
  EXPECT_EQ(calls_.in_flight(), 0);
  EXPECT_EQ(calls_.total(), static_cast<uint64_t>(kThreads * kCalls));
  uint64_t total = 0;
  for (const MethodCount& method : calls_.methods()) {
    EXPECT_EQ(method.in_flight, 0);
    total += method.total;
  }
  EXPECT_EQ(total, calls_.total());
  EXPECT_GE(*told + ended_untold, kThreads * kCalls);
  EXPECT_GE(idle_, 1);
}

}  // namespace
}  // namespace lastcall
