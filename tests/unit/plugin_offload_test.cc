// A plugin's offload: each piece of work is answered once and in time, whatever it does.
#include "lastcall/plugin/plugin_offload.h"

#include <gmock/gmock.h>
#include <grpcpp/server_context.h>
#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <future>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "no_more.h"

#include <lastcall/event/latch.h>
#include <lastcall/rpc/call_directory.h>
#include <lastcall/rpc/live_call.h>
#include <lastcall/testing/fake_clock.h>
#include <lastcall/testing/recording_log.h>

namespace lastcall {
namespace {

using namespace std::chrono_literals;
using testing::Each;
using testing::ElementsAre;
using testing::IsEmpty;

// A call in flight, as the guard would have it.
class OffloadedCall {
 public:
  OffloadedCall()
      : live_(std::make_shared<LiveCall>(&context_, methods_.Of("/test.Service/Name"),
                                         LiveCall::Identity{1, CallKind::kUnary, Instant{}, {}},
                                         termination_, watch_)) {
    CallDirectory::Enter(*live_);
  }
  ~OffloadedCall() {
    CallDirectory::Leave(*live_);
    live_->Returned();
    live_->Ended();
  }
  const grpc::ServerContextBase& context() const { return context_; }
  LiveCall& live() { return *live_; }

 private:
  grpc::ServerContext context_;
  MethodTable methods_;
  const Termination termination_;
  ClientWatch watch_;
  const std::shared_ptr<LiveCall> live_;
};

class PluginOffloadTest : public testing::Test {
 protected:
  using Answer = std::future<Result<std::string>>;

  PluginOffloadTest() { Make({.threads = 1, .queue = 1, .deadline = 30s}); }
  // What hangs in a test is let go at its end.
  ~PluginOffloadTest() override {
    gate_->Set();
    End();
  }

  void Make(const OffloadLimits& limits) {
    End();
    offload_ = std::make_shared<PluginOffload>(limits, clock_, log_.log());
  }
  void End() {
    if (offload_ == nullptr) return;
    offload_->Close({Code::kCancelled, "the end"});
    offload_->WaitIdle();
  }
  Offload view() const { return Offload(offload_); }

  template <class Work>
  Answer Begin(Work work, std::optional<Instant> by = {}) {
    const auto answer = std::make_shared<std::promise<Result<std::string>>>();
    view().Begin(
        call_.context(), std::move(work),
        [answer](Result<std::string> result) { answer->set_value(std::move(result)); }, by);
    return answer->get_future();
  }
  Answer BeginNoted(const std::string& name) {
    return Begin([this, name](const std::stop_token&) {
      ++ran_;
      return name;
    });
  }
  // Returns when the gate is opened, and tells `told_` that nobody waits any more.
  Answer BeginHanging(std::optional<Instant> by = {}) {
    auto began = std::make_shared<Latch>();
    auto answer = Begin(
        [gate = gate_, told = told_, began](const std::stop_token& stop) {
          const std::stop_callback tell(stop, [&] { told->Set(); });
          began->Set();
          gate->Wait();
          return std::string("hung");
        },
        by);
    began->Wait();
    return answer;
  }
  void Advance(Duration length) {
    clock_.Advance(length);
    offload_->OnTick();
  }
  static Code CodeOf(Answer& answer) {
    const auto result = answer.get();
    return result ? Code::kOk : result.error().code;
  }

  FakeClock clock_;
  const SteadyClock real_;
  RecordingLog log_;
  OffloadedCall call_;
  const std::shared_ptr<Latch> gate_ = std::make_shared<Latch>();
  const std::shared_ptr<Latch> told_ = std::make_shared<Latch>();
  std::shared_ptr<PluginOffload> offload_;
  std::atomic<int> ran_ = 0;
};

TEST_F(PluginOffloadTest, WhatTheWorkReturnsIsTheAnswer) {
  std::thread::id worked;
  const auto result = view().Run(call_.context(), [&](const std::stop_token&) {
    worked = std::this_thread::get_id();
    return std::make_unique<int>(7);
  });
  ASSERT_TRUE(result);
  EXPECT_EQ(**result, 7);
  EXPECT_NE(worked, std::this_thread::get_id());
}

TEST_F(PluginOffloadTest, AFullQueueRefusesAtOnceAndNothingRuns) {
  BeginHanging();
  auto queued = BeginNoted("queued");
  auto refused = BeginNoted("refused");
  EXPECT_EQ(CodeOf(refused), Code::kResourceExhausted);
  const OffloadCounts counts = view().counts();
  EXPECT_EQ(counts.refused, 1u);
  EXPECT_EQ(counts.queued, 1u);
  EXPECT_EQ(counts.most_queued, 1u);
  EXPECT_EQ(counts.busy, 1u);
  EXPECT_EQ(counts.begun, 2u);
  EXPECT_EQ(counts.late, 0u);
  gate_->Set();
  EXPECT_EQ(CodeOf(queued), Code::kOk);
  EXPECT_EQ(ran_, 1);
}

TEST_F(PluginOffloadTest, WhatIsLateIsAnsweredWithoutItAndKeepsItsThread) {
  auto late = BeginHanging();
  Advance(29s);
  EXPECT_EQ(view().counts().abandoned, 0u);
  Advance(1s);
  EXPECT_EQ(CodeOf(late), Code::kDeadlineExceeded);
  told_->Wait();
  EXPECT_EQ(view().counts().abandoned, 1u);
  EXPECT_EQ(view().counts().late, 1u);
  auto next = BeginNoted("next");
  EXPECT_EQ(view().counts().queued, 1u) << "the one thread is busy still";
  gate_->Set();
  EXPECT_EQ(CodeOf(next), Code::kOk);
  EXPECT_EQ(view().counts().abandoned, 0u);
}

// Nobody says what time it is where the clock is the machine's.
TEST_F(PluginOffloadTest, OneAfterAnotherIsLateByTheRealClock) {
  End();
  offload_ = std::make_shared<PluginOffload>(OffloadLimits{.threads = 1, .deadline = 1ms}, real_,
                                             log_.log());
  for (int i = 0; i < 10; ++i) {
    auto late = Begin([gate = gate_](const std::stop_token&) {
      gate->Wait();
      return std::string();
    });
    ASSERT_EQ(late.wait_for(10s), std::future_status::ready) << i;
    EXPECT_EQ(CodeOf(late), Code::kDeadlineExceeded);
  }
}

TEST_F(PluginOffloadTest, APieceMayHaveAnInstantOfItsOwn) {
  Make({.threads = 2, .queue = 1, .deadline = 30s});
  auto sooner = BeginHanging(clock_.Now() + 1s);
  auto never = BeginHanging(kNever);
  Advance(1s);
  EXPECT_EQ(CodeOf(sooner), Code::kDeadlineExceeded);
  Advance(1h);
  EXPECT_EQ(view().counts().abandoned, 1u);
  gate_->Set();
  EXPECT_EQ(CodeOf(never), Code::kOk);
}

TEST_F(PluginOffloadTest, AnInstantThatHasPassedIsLateAtOnce) {
  auto late = Begin([](const std::stop_token&) { return std::string(); }, clock_.Now());
  EXPECT_EQ(CodeOf(late), Code::kDeadlineExceeded);
}

TEST_F(PluginOffloadTest, WhatIsQueuedAndLateIsNeverBegun) {
  auto hanging = BeginHanging(kNever);
  auto queued = BeginNoted("queued");
  Advance(30s);
  EXPECT_EQ(CodeOf(queued), Code::kDeadlineExceeded);
  EXPECT_EQ(view().counts().queued, 0u);
  gate_->Set();
  EXPECT_EQ(CodeOf(hanging), Code::kOk);
  EXPECT_EQ(ran_, 0);
}

// A thread may be free before the one who keeps the time has seen it: that one is held up here.
TEST_F(PluginOffloadTest, AThreadThatComesTooLateDoesNotBegin) {
  Make({.threads = 1, .queue = 2, .deadline = 30s});
  BeginHanging(kNever);
  auto queued = BeginNoted("queued");
  Latch held, go_on;
  view().Begin(
      call_.context(), [](const std::stop_token&) { return 7; },
      [&](const Result<int>&) {
        held.Set();
        go_on.Wait();
      },
      clock_.Now() + 1s);
  Advance(1s);
  held.Wait();
  clock_.Advance(29s);
  gate_->Set();
  EXPECT_EQ(CodeOf(queued), Code::kDeadlineExceeded);
  EXPECT_EQ(ran_, 0);
  go_on.Set();
  End();
}

TEST_F(PluginOffloadTest, WhatIsThrownIsInTheLogAlone) {
  auto thrown = Begin([](const std::stop_token&) -> std::string {
    throw std::runtime_error("password is\nsecret");
  });
  const auto result = thrown.get();
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, Code::kInternal);
  EXPECT_EQ(result.error().message.find("secret"), std::string::npos);
  EXPECT_TRUE(log_.Said(LogLevel::kError,
                        "offloaded work of /test.Service/Name threw: password is\\nsecret"));
  auto other = Begin([](const std::stop_token&) -> std::string { throw 7; });
  EXPECT_EQ(CodeOf(other), Code::kInternal);
}

TEST_F(PluginOffloadTest, ACallThatIsToldToLeaveIsNotCancelledAndOneWhoseClientIsGoneIs) {
  auto hanging = BeginHanging();
  call_.live().TellToLeave();
  EXPECT_FALSE(told_->IsSet());
  EXPECT_EQ(view().counts().abandoned, 0u);
  call_.live().ClientGone();
  EXPECT_EQ(CodeOf(hanging), Code::kCancelled);
  told_->Wait();
  EXPECT_EQ(view().counts().abandoned, 1u);
}

TEST_F(PluginOffloadTest, WorkForAClientThatIsGoneIsCancelled) {
  BeginHanging();
  call_.live().ClientGone();
  auto queued = BeginNoted("queued");
  EXPECT_EQ(CodeOf(queued), Code::kCancelled);
  EXPECT_EQ(ran_, 0);
}

TEST_F(PluginOffloadTest, CloseCancelsWhatIsQueuedAndWhatRunsAndRefusesTheRest) {
  auto hanging = BeginHanging();
  auto queued = BeginNoted("queued");
  offload_->Close({Code::kCancelled, "the server is stopping"});
  EXPECT_EQ(hanging.get().error().message, "the server is stopping");
  EXPECT_EQ(CodeOf(queued), Code::kCancelled);
  told_->Wait();
  auto after = BeginNoted("after");
  EXPECT_EQ(CodeOf(after), Code::kCancelled);
  EXPECT_EQ(ran_, 0);
}

TEST_F(PluginOffloadTest, WhatRunsIsNamedUntilItReturnsWhoeverWaits) {
  auto late = BeginHanging();
  Advance(30s);
  EXPECT_EQ(CodeOf(late), Code::kDeadlineExceeded);
  const auto running = offload_->running();
  ASSERT_EQ(running.size(), 1u);
  EXPECT_EQ(running[0].method, "/test.Service/Name");
  EXPECT_EQ(running[0].since, FakeClock::kStart);
  EXPECT_TRUE(std::filesystem::exists("/proc/self/task/" + std::to_string(running[0].thread)));
  gate_->Set();
  End();
  EXPECT_THAT(offload_->running(), IsEmpty());
}

TEST_F(PluginOffloadTest, IdleIsWhenTheLastAnswerHasReturned) {
  Latch answering, go_on;
  bool answered = false;
  view().Begin(
      call_.context(), [](const std::stop_token&) { return 7; },
      [&](const Result<int>&) {
        answering.Set();
        go_on.Wait();
        answered = true;
      });
  answering.Wait();
  std::thread ending([&] {
    End();
    EXPECT_TRUE(answered);
  });
  go_on.Set();
  ending.join();
}

TEST_F(PluginOffloadTest, AnAnswerThatThrowsHoldsUpNobody) {
  view().Begin(
      call_.context(), [](const std::stop_token&) { return 7; },
      [](const Result<int>&) { throw std::runtime_error("too much"); });
  auto next = BeginNoted("next");
  EXPECT_EQ(CodeOf(next), Code::kOk);
  EXPECT_TRUE(log_.Said(LogLevel::kError, "threw: too much"));
}

TEST_F(PluginOffloadTest, WithoutAThreadItRefuses) {
  const NoMoreThreads none;
  auto refused = BeginNoted("refused");
  EXPECT_EQ(CodeOf(refused), Code::kResourceExhausted);
  EXPECT_EQ(view().counts().refused, 1u);
}

TEST_F(PluginOffloadTest, WhoDoesNotUseItPaysNoThread) {
  const auto threads = [] {
    return std::distance(std::filesystem::directory_iterator("/proc/self/task"), {});
  };
  // Those of the tests before may be ending.
  const auto before = threads();
  std::vector<std::shared_ptr<PluginOffload>> unused;
  for (int i = 0; i < 50; ++i) {
    unused.push_back(std::make_shared<PluginOffload>(OffloadLimits{}, clock_, log_.log()));
  }
  EXPECT_LE(threads(), before);
}

// Returning, the client's going, its instant and the end, all at once.
TEST_F(PluginOffloadTest, EachPieceIsAnsweredOnceWhateverHappensFirst) {
  std::atomic<int> ok = 0, not_ok = 0;
  int begun = 0;
  for (int round = 0; round < 1000; ++round) {
    Make({.threads = 2, .queue = 4, .deadline = 1s});
    OffloadedCall call;
    for (int i = 0; i < 4; ++i, ++begun) {
      view().Begin(
          call.context(), [](const std::stop_token&) { return 7; },
          [&](const Result<int>& result) { ++(result ? ok : not_ok); });
    }
    std::thread other([&] {
      if (round % 3 == 0) call.live().ClientGone();
      if (round % 3 == 1) Advance(1s);
    });
    if (round % 2 == 0) offload_->Close({Code::kCancelled, "enough"});
    other.join();
    End();
    ASSERT_EQ(ok + not_ok, begun);
  }
  EXPECT_GT(ok, 0);
  EXPECT_GT(not_ok, 0);
}

}  // namespace
}  // namespace lastcall
