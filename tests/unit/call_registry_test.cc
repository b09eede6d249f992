// The calls in flight: counted, found, told to leave. Without gRPC: a context is only an address
// here.
#include "lastcall/rpc/call_registry.h"

#include <gmock/gmock.h>
#include <grpcpp/support/status.h>

#include <barrier>
#include <deque>
#include <thread>

#include "lastcall/base/safe_text.h"
#include "lastcall/event/latch.h"
#include "lastcall/rpc/call.h"

#include <lastcall/testing/fake_clock.h>

namespace lastcall {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;

constexpr char kMethod[] = "/test.Service/Method";

// The address of a context that nobody looks into.
class FakeContext {
 public:
  const grpc::ServerContextBase* get() const {
    return reinterpret_cast<const grpc::ServerContextBase*>(&memory_);
  }
  const grpc::ServerContextBase& operator*() const { return *get(); }

 private:
  alignas(64) char memory_[64] = {};
};

class CallRegistryTest : public testing::Test {
 protected:
  // Its handler never starts: so nobody looks into the context.
  std::shared_ptr<LiveCall> Begin(const FakeContext& context, const char* method = kMethod) {
    return calls_.Begin(context.get(), method);
  }
  static void End(LiveCall& call) {
    call.Returned();
    call.End();
  }
  // Tells everybody, and waits until that is done.
  void Leave() {
    const FakeContext last;
    clock_.Advance(1ns);  // it is the youngest: told last
    const auto call = Begin(last);
    call->OnLeave([&] { left_.Set(); });
    calls_.BeginLeave(LeaveSpread::Within(clock_.Now(), clock_.Now()));
    left_.Wait();
    End(*call);
  }

  FakeClock clock_;
  TerminationSource termination_;
  Latch left_;  // outlives the thread that sets it
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

TEST_F(CallRegistryTest, FindsACallByItsContextUntilItEnds) {
  const FakeContext context;
  EXPECT_EQ(CallRegistry::Find(context.get()), nullptr);
  const auto call = Begin(context);
  EXPECT_EQ(CallRegistry::Find(context.get()), call);
  call->Returned();
  EXPECT_EQ(CallRegistry::Find(context.get()), call);
  call->End();
  EXPECT_EQ(CallRegistry::Find(context.get()), nullptr);
}

// gRPC may give a context's memory to the next call before the last one's end was told.
TEST_F(CallRegistryTest, AReusedContextBelongsToItsNewCall) {
  const FakeContext context;
  const auto old = Begin(context);
  const auto young = Begin(context);
  End(*old);
  EXPECT_EQ(CallRegistry::Find(context.get()), young);
  EXPECT_EQ(calls_.in_flight(), 1);
  End(*young);
  EXPECT_EQ(CallRegistry::Find(context.get()), nullptr);
}

TEST_F(CallRegistryTest, RegistriesDoNotSeeEachOthersCalls) {
  CallRegistry other(clock_, Termination(), nullptr);
  const FakeContext here, there;
  const auto mine = Begin(here);
  const auto theirs = other.Begin(there.get(), kMethod);
  EXPECT_EQ(calls_.Calls(10).size(), 1u);
  EXPECT_EQ(other.Calls(10).size(), 1u);
  Leave();
  EXPECT_TRUE(mine->leaving());
  EXPECT_FALSE(theirs->leaving());
  End(*mine);
  End(*theirs);
}

TEST_F(CallRegistryTest, MethodNamesThatPeersInventAreBounded) {
  const FakeContext context;
  for (int i = 0; i < 1500; ++i) {
    const auto call = Begin(context, ("/invented/" + std::to_string(i)).c_str());
    End(*call);
  }
  const auto methods = calls_.methods();
  EXPECT_EQ(methods.size(), 1001u);
  const auto others = std::find_if(methods.begin(), methods.end(),
                                   [](const auto& each) { return each.method == "(others)"; });
  ASSERT_NE(others, methods.end());
  EXPECT_EQ(others->total, 500u);
  EXPECT_EQ(calls_.total(), 1500u);
  // One that is known keeps its own count.
  const auto known = Begin(context, "/invented/7");
  EXPECT_EQ(calls_.Calls(1)[0].method, "/invented/7");
  End(*known);
}

TEST_F(CallRegistryTest, MethodNamesThatAreNoTextAreMadeSafe) {
  const FakeContext one, two;
  const auto a = Begin(one, "/a/\xff\n"), b = Begin(two, std::string(5000, 'x').c_str());
  clock_.Advance(1s);
  const auto calls = calls_.Calls(2);
  const auto methods = calls_.methods();
  EXPECT_EQ(methods[0].method, "/a/\\xff\\n");
  EXPECT_EQ(methods[1].method.size(), kMaxSafeName);
  for (const CallInfo& call : calls) EXPECT_TRUE(IsSafeText(call.method)) << call.method;
  End(*a);
  End(*b);
  // The same again, for which nothing new is kept.
  End(*Begin(one, "/a/\xff\n"));
  EXPECT_EQ(calls_.methods().size(), 2u);
  EXPECT_EQ(calls_.methods()[0].total, 2u);
}

TEST_F(CallRegistryTest, RegisteredMethodsKeepTheirNamesWhateverIsInvented) {
  calls_.AddMethod(kMethod);
  EXPECT_TRUE(calls_.methods().empty()) << "nobody has called it";
  const FakeContext context;
  for (int i = 0; i < 1500; ++i) End(*Begin(context, ("/invented/" + std::to_string(i)).c_str()));
  End(*Begin(context));
  const auto methods = calls_.methods();
  EXPECT_EQ(methods.size(), 1002u);
  EXPECT_EQ(std::count_if(methods.begin(), methods.end(),
                          [](const auto& each) { return each.method == kMethod; }),
            1);
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

TEST_F(CallRegistryTest, EveryCallIsToldToLeaveOldestFirst) {
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

TEST_F(CallRegistryTest, ACallIsToldOnceHoweverOftenEverybodyIs) {
  const FakeContext context;
  const auto call = Begin(context);
  int told = 0;
  call->OnLeave([&] { ++told; });
  Leave();
  calls_.BeginLeave(LeaveSpread::Within(clock_.Now(), clock_.Now()));
  call->TellToLeave();
  call->ClientGone();
  EXPECT_EQ(told, 1);
  EXPECT_TRUE(calls_.Calls(1)[0].told);
  End(*call);
  EXPECT_EQ(told, 1);
}

TEST_F(CallRegistryTest, ACallThatComesLaterIsToldAtOnce) {
  Leave();
  const FakeContext context;
  const auto call = Begin(context);
  EXPECT_TRUE(call->leaving());
  EXPECT_TRUE(call->token().stop_requested());
  bool told = false;
  call->OnLeave([&] { told = true; });
  EXPECT_TRUE(told);
  End(*call);
}

TEST_F(CallRegistryTest, ATokenIsStoppedWheneverItWasTaken) {
  const FakeContext context;
  const auto call = Begin(context);
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

TEST_F(CallRegistryTest, AClientThatIsGoneStopsTheCallButDoesNotMakeItLeave) {
  const FakeContext context;
  const auto call = Begin(context);
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

TEST_F(CallRegistryTest, ACallbackNeverRunsOnceTheCallHasEnded) {
  const FakeContext context;
  const auto call = Begin(context);
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

// Else they would run under the lock of the call, and could not ask it anything.
TEST_F(CallRegistryTest, StopCallbacksRunInTheThreadThatTellsWhoeverTakesTokensMeanwhile) {
  int stopped = 0, running = 0;
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
  for (int round = 0; (stopped == 0 || running == 0 || round < 50'000) && round < 500'000;
       ++round) {
    const FakeContext context;
    const auto call = Begin(context);
    begun = round % 2 == 0;  // each second time not before a token was taken
    std::thread::id where;
    const std::stop_callback callback(call->token(), [&] { where = std::this_thread::get_id(); });
    told = call.get();
    start.arrive_and_wait();
    for (int n = 0; n < 30; ++n) {
      ++(call->token().stop_requested() ? stopped : running);
      begun = true;
    }
    end.arrive_and_wait();
    End(*call);
    EXPECT_EQ(where, teller.get_id()) << "round " << round;
    if (where != teller.get_id()) break;
  }
  EXPECT_GT(stopped, 0);
  EXPECT_GT(running, 0);
  teller.request_stop();
  start.arrive_and_wait();
}

// The leaver may hold a call that ends meanwhile.
TEST_F(CallRegistryTest, AViewOfACallThatEndedStaysAsItWas) {
  const FakeContext context;
  const auto live = Begin(context);
  const Call call = Call::Of(*context);
  End(*live);
  live->TellToLeave();
  EXPECT_FALSE(call.leaving());
}

TEST_F(CallRegistryTest, CancelInstantIsThePlansUntilTheHandlerReturns) {
  const FakeContext context;
  const auto live = Begin(context);
  const Call call = Call::Of(*context);
  EXPECT_EQ(call.cancel_instant(), kNever);
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

// Half of grace may be minutes: a registry that goes does not wait for them.
TEST_F(CallRegistryTest, EndsInTheMiddleOfTelling) {
  const SteadyClock steady;
  std::optional<CallRegistry> calls(std::in_place, steady, Termination(), nullptr);
  const FakeContext contexts[3];
  std::vector<std::shared_ptr<LiveCall>> living;
  Latch told;
  for (const FakeContext& context : contexts) {
    living.push_back(calls->Begin(context.get(), kMethod));
    living.back()->OnLeave([&] { told.Set(); });
  }
  calls->BeginLeave(LeaveSpread::Within(steady.Now(), steady.Now() + 1h));
  told.Wait();  // the first has its turn at once, the second in twenty minutes
  for (const auto& call : living) End(*call);
  calls.reset();
  EXPECT_FALSE(living[1]->leaving());
  EXPECT_FALSE(living[2]->leaving());
}

// Nearer than the turns that were planned: who waits for his has another one.
TEST_F(CallRegistryTest, TurnsFollowThePlan) {
  const SteadyClock steady;
  const Instant now = steady.Now();
  TerminationSource termination;
  termination.SetPlan({.grace = now, .cancel = now + 10h, .end = now + 11h});
  std::optional<CallRegistry> calls(std::in_place, steady, termination.view(), nullptr);
  const FakeContext contexts[3];
  std::vector<std::shared_ptr<LiveCall>> living;
  Latch told[3];
  for (int i = 0; i < 3; ++i) {
    living.push_back(calls->Begin(contexts[i].get(), kMethod));
    living.back()->OnLeave([&, i] { told[i].Set(); });
  }
  calls->BeginLeave(LeaveSpread(now, now + 10h, 0h));
  told[0].Wait();
  EXPECT_FALSE(living[1]->leaving());
  termination.SetPlan({.grace = now, .cancel = now, .end = now});
  told[1].Wait();
  told[2].Wait();
  for (const auto& call : living) End(*call);
  calls.reset();
}

// Calls begin and end in every thread while everybody is told to leave.
TEST_F(CallRegistryTest, CountsStayExactAndNobodyIsToldTwiceWhateverRaces) {
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
          EXPECT_EQ(CallRegistry::Find(context.get()), call);
          End(*call);
          if (*times == 0) ++ended_untold;
        }
      });
    }
    start.arrive_and_wait();
    // The first calls race with it; whatever comes after it is told.
    while (calls_.total() < kCalls) std::this_thread::yield();
    calls_.BeginLeave(LeaveSpread::Within(clock_.Now(), clock_.Now()));
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
