// A handover to another build, at every step of it, without another build.
#include "daemon/handover/handover.h"

#include <unistd.h>

#include <deque>
#include <optional>

#include "supervisor_fixture.h"

namespace lastcall {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class HandoverTest : public SupervisorTest, private HandoverEffects {
 protected:
  void SetUp() override {
    Serve({"a"});
    handover_.emplace(
        *supervisor_, static_cast<HandoverEffects&>(*this),
        [this](Callback run) { loop_.push_back(std::move(run)); }, clock_, log_.log(),
        [this](int) { return stamp_; });
    handover_->Begin(UniqueFd(dup(0)), {.kind = Cause::Kind::kAdmin, .who = "alice"},
                     "/usr/bin/lastcalld");
  }

  void Run() {
    while (!loop_.empty()) {
      const Callback run = std::move(loop_.front());
      loop_.pop_front();
      run();
    }
  }
  void BeginChange() {
    ASSERT_TRUE(supervisor_->BeginChanges({{Supervisor::Change::Kind::kReplace, {.name = "a"}}}, {},
                                          nullptr));
  }
  void EndChange() {
    process("a").events(2).Exited({.code = 1});
    Run();
  }
  std::vector<std::string> TakeDone() { return std::exchange(done_, {}); }

  std::optional<Handover> handover_;
  Proved proved_;
  Callback gone_;
  Stamp stamp_{.size = 1};
  bool has_left_ = true;
  std::function<void()> meanwhile_;  // heard while it quiesces

 private:
  void BeginCheck(int, Proved proved) override {
    done_.push_back("check");
    proved_ = std::move(proved);
  }
  void EndCheck() override { done_.push_back("end check"); }
  void BeginLeave(uint64_t number, Callback gone) override {
    EXPECT_NE(number, 0u);
    done_.push_back("leave");
    gone_ = std::move(gone);
  }
  bool HasLeft() override { return has_left_; }
  void Quiesce() override {
    done_.push_back("quiesce");
    if (meanwhile_) meanwhile_();
  }
  Error Execute(int) override {
    done_.push_back("execute");
    return {Code::kInternal, "no memory"};
  }
  void GoOn(const Error& why, bool left) override {
    done_.push_back((left ? "back: " : "go on: ") + why.message);
  }

  std::vector<std::string> done_;
  std::deque<Callback> loop_;
};

TEST_F(HandoverTest, ABuildThatHasProvedItselfIsExecutedWhenTheCallersAreGone) {
  EXPECT_THAT(TakeDone(), ElementsAre("check"));
  proved_({});
  EXPECT_THAT(TakeDone(), ElementsAre("leave"));
  EXPECT_TRUE(handover_->leaving());
  gone_();
  EXPECT_THAT(TakeDone(), ElementsAre("quiesce", "execute", "back: no memory"));
  EXPECT_FALSE(handover_->active());
}

TEST_F(HandoverTest, OneThatHasNotChangesNothing) {
  proved_(Fail(Code::kAborted, "it said the wrong word"));
  EXPECT_THAT(TakeDone(), ElementsAre("check", "go on: it said the wrong word"));
  EXPECT_FALSE(handover_->active());
}

TEST_F(HandoverTest, AShutdownWaitsForNobodysProof) {
  handover_->Abort({Code::kFailedPrecondition, "a shutdown is in progress"});
  EXPECT_THAT(TakeDone(), ElementsAre("check", "end check", "go on: a shutdown is in progress"));
  handover_->Abort({Code::kFailedPrecondition, "again"});
  EXPECT_THAT(TakeDone(), IsEmpty());
}

TEST_F(HandoverTest, ItComesBehindTheChangesThatAreInProgress) {
  BeginChange();
  TakeDone();
  proved_({});
  EXPECT_THAT(TakeDone(), IsEmpty());
  EXPECT_FALSE(handover_->leaving());
  EndChange();
  EXPECT_THAT(TakeDone(), ElementsAre("leave"));
}

TEST_F(HandoverTest, AShutdownWhileItWaitsBehindChangesEndsIt) {
  BeginChange();
  proved_({});
  TakeDone();
  Request();
  Run();
  EXPECT_THAT(TakeDone(), ElementsAre(HasSubstr("go on: a shutdown")));
  EXPECT_FALSE(handover_->active());
}

TEST_F(HandoverTest, AShutdownWhileTheCallersLeaveBringsItBack) {
  proved_({});
  Request();
  handover_->Abort({Code::kFailedPrecondition, "too late for that"});
  TakeDone();
  gone_();
  EXPECT_THAT(TakeDone(), ElementsAre("quiesce", HasSubstr("back: a shutdown")));
}

// The receipt is being written, to a disk that takes its time.
TEST_F(HandoverTest, AShutdownWhileSomethingWaitsForItsAnswerDoesNotTurnTheLoop) {
  proved_({});
  Request();
  has_left_ = false;
  TakeDone();
  gone_();
  EXPECT_THAT(TakeDone(), ElementsAre("quiesce", HasSubstr("back: a shutdown")));
}

TEST_F(HandoverTest, AShutdownThatIsHeardInTheLastMomentBringsItBack) {
  proved_({});
  meanwhile_ = [this] { Signal(SIGTERM); };
  TakeDone();
  gone_();
  EXPECT_THAT(TakeDone(), ElementsAre("quiesce", HasSubstr("back: a shutdown")));
}

TEST_F(HandoverTest, AProgramThatWasOverwrittenMeanwhileIsNotExecuted) {
  proved_({});
  TakeDone();
  stamp_.size = 2;
  gone_();
  EXPECT_THAT(TakeDone(), ElementsAre("quiesce", HasSubstr("back: /usr/bin/lastcalld was overw")));
}

TEST_F(HandoverTest, WhatStillWaitsForAnAnswerGetsIt) {
  proved_({});
  TakeDone();
  has_left_ = false;
  gone_();
  EXPECT_THAT(TakeDone(), IsEmpty());
  has_left_ = true;
  Run();
  EXPECT_THAT(TakeDone(), ElementsAre("quiesce", "execute", "back: no memory"));
}

TEST_F(HandoverTest, AfterOneThatFailedThereCanBeAnother) {
  proved_(Fail(Code::kAborted, "no"));
  handover_->Begin(UniqueFd(dup(0)), {}, "/usr/bin/lastcalld");
  TakeDone();
  proved_({});
  gone_();
  EXPECT_THAT(TakeDone(), ElementsAre("leave", "quiesce", "execute", "back: no memory"));
}

}  // namespace
}  // namespace lastcall
