// LoopOffload: work beside a loop is answered once, and what never returns holds up nothing.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <lastcall/event/inbox.h>
#include <lastcall/event/latch.h>
#include <lastcall/event/loop_offload.h>

#include <atomic>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "no_more.h"

namespace lastcall {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr Instant kEpoch{};

// An owner with a loop: what was posted runs when the test says so, in its thread.
class LoopOffloadTest : public ::testing::Test {
 protected:
  LoopOffloadTest() { Make(2); }
  ~LoopOffloadTest() override { EndAll(); }

  void Make(size_t most, size_t ready = 0) {
    offload_.emplace([inbox = inbox_](Callback run) { inbox->Post(std::move(run)); }, most, ready);
  }
  // What hangs in a test is let go at its end.
  void EndAll() {
    gate_->Set();
    if (offload_) offload_->WaitIdle(kNever);
  }

  void RunOne() { (*inbox_->TakeUntil(kNever))(); }
  // What is there already.
  int RunAll() {
    int ran = 0;
    for (; auto run = inbox_->TakeUntil(kEpoch); ++ran) (*run)();
    return ran;
  }

  void Begin(std::string name, Instant by = kNever) {
    offload_->Begin<std::string>(
        by, [name](const std::stop_token&) { return name; },
        [this, name](Result<std::string> result) { Note(name, std::move(result)); });
  }
  // Returns when the gate is opened; `began` is set in its thread.
  std::shared_ptr<Latch> BeginHanging(std::string name, Instant by = kNever) {
    auto began = std::make_shared<Latch>();
    offload_->Begin<std::string>(
        by,
        [gate = gate_, began, name](const std::stop_token&) {
          began->Set();
          gate->Wait();
          return name;
        },
        [this, name](Result<std::string> result) { Note(name, std::move(result)); });
    return began;
  }
  void Note(const std::string& name, Result<std::string> result) {
    answers_.push_back(result ? *result : name + ": " + result.error().message);
    if (!result) codes_.push_back(result.error().code);
  }

  const std::shared_ptr<Inbox<Callback>> inbox_ = std::make_shared<Inbox<Callback>>();
  const std::shared_ptr<Latch> gate_ = std::make_shared<Latch>();
  std::optional<LoopOffload> offload_;
  std::vector<std::string> answers_;
  std::vector<Code> codes_;
};

TEST_F(LoopOffloadTest, ResultIsAnsweredInTheOwnersThread) {
  std::thread::id worked, answered;
  offload_->Begin<std::unique_ptr<int>>(
      kNever,
      [&](const std::stop_token&) {
        worked = std::this_thread::get_id();
        return std::make_unique<int>(7);
      },
      [&](Result<std::unique_ptr<int>> result) {
        answered = std::this_thread::get_id();
        EXPECT_EQ(**result, 7);
      });
  EXPECT_EQ(offload_->waiting(), 1);
  RunOne();
  EXPECT_EQ(answered, std::this_thread::get_id());
  EXPECT_NE(worked, answered);
  EXPECT_EQ(offload_->waiting(), 0);
}

TEST_F(LoopOffloadTest, WhatIsLateIsAnsweredWithoutItAndItsResultDropped) {
  const auto began = BeginHanging("slow", kEpoch + 5s);
  began->Wait();
  EXPECT_EQ(offload_->next_instant(), kEpoch + 5s);
  offload_->OnTick(kEpoch + 4s);
  EXPECT_THAT(answers_, ElementsAre());
  offload_->OnTick(kEpoch + 5s);
  EXPECT_THAT(codes_, ElementsAre(Code::kDeadlineExceeded));
  EXPECT_EQ(offload_->next_instant(), kNever);
  EXPECT_EQ(offload_->abandoned(), 1);
  gate_->Set();
  EXPECT_TRUE(offload_->WaitIdle(kNever));
  EXPECT_EQ(RunAll(), 0);
  EXPECT_EQ(answers_.size(), 1);
  EXPECT_EQ(offload_->abandoned(), 0);
}

TEST_F(LoopOffloadTest, WhatHangsDoesNotHoldUpTheNext) {
  BeginHanging("hangs", kEpoch + 1s)->Wait();
  offload_->OnTick(kEpoch + 1s);
  Begin("next");
  RunOne();
  EXPECT_THAT(answers_, ElementsAre(HasSubstr("hangs: "), "next"));
}

TEST_F(LoopOffloadTest, ThreadsAreBoundedAndWhatFindsNoneWaitsForItsOwnInstant) {
  for (int i = 0; i < 2; ++i) BeginHanging("hangs", kEpoch + 1s)->Wait();
  offload_->OnTick(kEpoch + 1s);
  Begin("queued", kEpoch + 2s);
  Begin("runs later", kEpoch + 3s);
  EXPECT_EQ(offload_->running(), 2);
  offload_->OnTick(kEpoch + 2s);
  EXPECT_THAT(answers_, ElementsAre(HasSubstr("hangs"), HasSubstr("hangs"), HasSubstr("queued: ")));
  EXPECT_EQ(offload_->abandoned(), 2);  // what never began hangs nowhere
  gate_->Set();
  RunOne();
  EXPECT_EQ(answers_.back(), "runs later");
}

TEST_F(LoopOffloadTest, EverythingQueuedIsDone) {
  constexpr size_t kMany = 500;
  for (size_t i = 0; i < kMany; ++i) Begin(std::to_string(i));
  while (answers_.size() < kMany) RunOne();
  EXPECT_TRUE(codes_.empty());
}

TEST_F(LoopOffloadTest, CancelAnswersLaterAndTellsTheWork) {
  Latch told;
  offload_->Begin<std::string>(
      kNever,
      [&told](const std::stop_token& stop) {
        const std::stop_callback tell(stop, [&told] { told.Set(); });
        told.Wait();
        return std::string("stopped");
      },
      [this](Result<std::string> result) { Note("work", std::move(result)); });
  offload_->Cancel({Code::kFailedPrecondition, "a shutdown is in progress"});
  offload_->Cancel({Code::kFailedPrecondition, "again"});
  EXPECT_THAT(answers_, ElementsAre());
  RunAll();
  EXPECT_THAT(answers_, ElementsAre("work: a shutdown is in progress"));
  EXPECT_TRUE(offload_->WaitIdle(kNever));
  EXPECT_EQ(offload_->abandoned(), 0);
}

TEST_F(LoopOffloadTest, AnAnswerMayBeginTheNextPiece) {
  offload_->Begin<int>(
      kEpoch + 1s,
      [gate = gate_](const std::stop_token&) {
        gate->Wait();
        return 1;
      },
      [this](const Result<int>&) { Begin("next"); });
  offload_->OnTick(kEpoch + 1s);
  RunOne();
  EXPECT_THAT(answers_, ElementsAre("next"));
}

TEST_F(LoopOffloadTest, WhatIsThrownIsAnError) {
  offload_->Begin<int>(
      kNever, [](const std::stop_token&) -> int { throw std::runtime_error("oh no"); },
      [this](const Result<int>& result) { Note("thrower", tl::unexpected(result.error())); });
  offload_->Begin<int>(
      kNever, [](const std::stop_token&) -> int { throw 7; },
      [this](const Result<int>& result) { Note("other", tl::unexpected(result.error())); });
  RunOne();
  RunOne();
  EXPECT_THAT(codes_, ElementsAre(Code::kInternal, Code::kInternal));
  EXPECT_THAT(answers_, ::testing::Contains("thrower: oh no"));
}

TEST_F(LoopOffloadTest, ItsEndWaitsForNobodyAndNoAnswerComesAfterIt) {
  const auto began = BeginHanging("hangs");
  began->Wait();
  Begin("done, and not told yet");
  Callback posted = *inbox_->TakeUntil(kNever);
  offload_.reset();  // returns, though one hangs
  posted();
  gate_->Set();
  EXPECT_EQ(RunAll(), 0);
  EXPECT_THAT(answers_, ElementsAre());
}

TEST_F(LoopOffloadTest, TheEndRacesWithReturns) {
  for (int round = 0; round < 500; ++round) {
    Make(4, round % 5);
    for (int i = 0; i < 4; ++i) Begin("any");
    if (round % 2 == 0) RunAll();
    if (round % 3 == 0) offload_->Cancel({Code::kCancelled, "enough"});
    offload_.reset();
    const size_t before = answers_.size();
    RunAll();
    EXPECT_EQ(answers_.size(), before);
  }
}

TEST_F(LoopOffloadTest, AReadyThreadRestsAndIsNotWaitedFor) {
  Make(2, 1);
  EXPECT_TRUE(offload_->WaitIdle(kNever));
  for (int i = 0; i < 100; ++i) {
    Begin("one");
    RunOne();
    EXPECT_TRUE(offload_->WaitIdle(kNever));
  }
  BeginHanging("hangs", kEpoch + 1s)->Wait();
  offload_->OnTick(kEpoch + 1s);
  Begin("another thread is made");
  RunOne();
  EXPECT_EQ(answers_.back(), "another thread is made");
}

TEST_F(LoopOffloadTest, NoThreadIsAnError) {
  const NoMoreThreads none;
  Begin("needs a thread");
  EXPECT_THAT(answers_, ElementsAre());
  RunOne();
  EXPECT_THAT(codes_, ElementsAre(Code::kResourceExhausted));
  EXPECT_EQ(offload_->running(), 0);
}

TEST_F(LoopOffloadTest, WhatWasMadeBeforeIsThere) {
  Make(2, 1);
  const NoMoreThreads none;
  for (const char* name : {"a", "b", "c"}) Begin(name);
  for (int i = 0; i < 3; ++i) RunOne();
  EXPECT_THAT(answers_, ElementsAre("a", "b", "c"));
}

TEST_F(LoopOffloadTest, WaitIdleEndsAtItsInstant) {
  BeginHanging("hangs")->Wait();
  EXPECT_FALSE(offload_->WaitIdle(kEpoch));
}

}  // namespace
}  // namespace lastcall
