// The life of one process, with a clock that moves when told and a part that says what it is told to.
#include "lastcall/program/stage_loop.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <stdexcept>
#include <string>
#include <vector>

#include <lastcall/testing/fake_clock.h>
#include <lastcall/testing/recording_log.h>

namespace lastcall {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;

constexpr Budget kLengths{10s, 20s, 5s};

class StageLoopTest : public testing::Test, protected StagePart {
 protected:
  bool idle() const override { return idle_; }
  bool done() const override { return done_; }
  Instant last_began() const override { return last_began_; }
  Instant due() const override { return due_; }
  void OnDue() override {
    said_.push_back("due");
    due_ = kNever;
  }
  void FirstRequest() override { said_.push_back("first request"); }
  void Entering(const Lifecycle::Change& change) override {
    const bool reached = IsStopping(change.entered) && loop_->termination().Reached(change.entered);
    said_.push_back(std::string(reached ? "too late for " : "entering ") +
                    std::string(Name(change.entered)));
  }
  void Entered(const Lifecycle::Change& change) override {
    const bool reached =
        !IsStopping(change.entered) || loop_->termination().Reached(change.entered);
    said_.push_back(std::string(reached ? "" : "not reached: ") +
                    std::string(Name(change.entered)));
    if (throw_at_ == change.entered) throw std::runtime_error(std::string(Name(change.entered)));
  }
  void AddTo(Receipt& receipt, bool ran_out) override {
    said_.push_back(ran_out ? "last words" : "counts");
    receipt.calls_cancelled = 0;
    if (ran_out) receipt.stuck.push_back({Stuck::What::kCall, "/a/B", 1s, {}});
  }
  void Finished(Receipt& receipt) override {
    if (exit_code_) receipt.exit_code = *exit_code_;
  }
  void Dump() override { said_.push_back("dump"); }

  void SetUp() override { Make(std::nullopt); }
  void Make(std::optional<Duration> quiet) {
    loop_.emplace(StageLoop::Options{.name = "main",
                                     .shutdown = kLengths,
                                     .quiet = quiet,
                                     .exit_when_forced = false,
                                     .log = log_.log()},
                  clock_, static_cast<StagePart&>(*this));
  }
  // Everything that was posted, and what the clock says: its instants are in the real one's past, so
  // that nothing waits.
  void Do(std::function<void()> event) {
    loop_->Post(std::move(event));
    loop_->Step();
  }
  void Serve() {
    Do([this] { loop_->OnReady(); });
    said_.clear();
  }
  void Ask(Request request = {}) {
    Do([this, request] {
      Request dated = request;
      dated.at = clock_.Now();
      loop_->OnRequest(dated);
    });
  }
  void Signal(int number) {
    Do([this, number] { loop_->OnSignal({.number = number, .at = clock_.Now()}); });
  }
  void Advance(Duration length) {
    clock_.Advance(length);
    loop_->Step();
  }
  std::vector<std::string> Said() { return std::exchange(said_, {}); }

  FakeClock clock_;
  RecordingLog log_;
  bool idle_ = false;
  bool done_ = false;
  Instant last_began_{};
  Instant due_ = kNever;
  std::optional<int> exit_code_;
  std::optional<Stage> throw_at_;
  std::vector<std::string> said_;
  std::optional<StageLoop> loop_;
};

TEST_F(StageLoopTest, GoesThroughEveryStageAtItsInstant) {
  Serve();
  Ask();
  EXPECT_THAT(Said(), ElementsAre("first request", "entering delay", "delay"));
  Advance(10s);
  EXPECT_THAT(Said(), ElementsAre("entering grace", "grace"));
  Advance(20s);
  EXPECT_THAT(Said(), ElementsAre("entering cancel", "cancel"));
  Advance(5s);
  EXPECT_THAT(Said(), ElementsAre("entering stopped", "last words", "stopped"));
  EXPECT_EQ(loop_->receipt().exit_code, kExitForced);
  EXPECT_EQ(loop_->receipt().subject, "main");
}

TEST_F(StageLoopTest, AStageEndsWhenThePartHasNothingLeft) {
  Serve();
  Signal(SIGINT);  // without delay
  EXPECT_EQ(loop_->stage(), Stage::kGrace);
  Do([this] { idle_ = true; });
  EXPECT_EQ(loop_->stage(), Stage::kCancel);
  Said();
  Do([this] { done_ = true; });
  EXPECT_THAT(Said(), ElementsAre("entering stopped", "counts", "stopped"));
  EXPECT_EQ(loop_->receipt().exit_code, kExitAllFinished);
}

TEST_F(StageLoopTest, WithNothingToWaitForOneEventEndsItAll) {
  idle_ = done_ = true;
  Serve();
  Signal(SIGINT);
  EXPECT_EQ(loop_->stage(), Stage::kStopped);
}

TEST_F(StageLoopTest, ThePartKnowsABetterExitCode) {
  idle_ = done_ = true;
  exit_code_ = 78;
  Ask();  // while it starts
  EXPECT_EQ(loop_->stage(), Stage::kStopped);
  EXPECT_EQ(loop_->receipt().exit_code, 78);
}

TEST_F(StageLoopTest, QuietEndsTheDelayAndSomethingNewPutsItOff) {
  Make(3s);
  Serve();
  Ask();
  Advance(2s);
  last_began_ = clock_.Now();
  Advance(2s);
  EXPECT_EQ(loop_->stage(), Stage::kDelay);
  Advance(1s);
  EXPECT_EQ(loop_->stage(), Stage::kGrace);
}

TEST_F(StageLoopTest, ThePartHasInstantsOfItsOwn) {
  due_ = clock_.Now() + 1s;
  Advance(1s);
  EXPECT_THAT(Said(), ElementsAre("due"));
}

TEST_F(StageLoopTest, AfterAPauseWhatHappenedIsHeardBeforeTheClock) {
  Serve();
  Ask();
  loop_->Post([this] { said_.push_back("event"); });
  clock_.Advance(1h);
  Said();
  loop_->Step();
  EXPECT_THAT(Said(), ElementsAre("event"));
  loop_->Step();
  EXPECT_EQ(loop_->stage(), Stage::kStopped);
}

TEST_F(StageLoopTest, AnExceptionEndsTheEventAndNothingElse) {
  Serve();
  Do([] { throw std::runtime_error("oh\nno"); });
  loop_->log().Flush();
  EXPECT_TRUE(log_.Said(LogLevel::kError, "internal error: oh\\nno; the process goes on"));
  Ask();
  EXPECT_EQ(loop_->stage(), Stage::kDelay);
}

TEST_F(StageLoopTest, AnExceptionOfThePartEndsNothingElse) {
  idle_ = true;
  Serve();
  throw_at_ = Stage::kCancel;
  Signal(SIGINT);
  EXPECT_EQ(loop_->stage(), Stage::kCancel);
  loop_->log().Flush();
  EXPECT_TRUE(log_.Said(LogLevel::kError, "internal error: cancel; the process goes on"));
  Do([this] { done_ = true; });
  EXPECT_EQ(loop_->stage(), Stage::kStopped);
}

TEST_F(StageLoopTest, AnAnnouncementWakesThoseWhoWaitBeforeTheLoopHears) {
  Serve();
  loop_->Announce({.at = clock_.Now()});
  EXPECT_TRUE(loop_->termination().Reached(Stage::kDelay));
  EXPECT_EQ(loop_->stage(), Stage::kServing);
  EXPECT_THAT(Said(), ElementsAre("first request"));
  loop_->Configure(0s, 0s, 0s);  // too late: what was announced is certain
  Ask();
  EXPECT_EQ(loop_->lifecycle().plan().grace, clock_.Now() + 10s);
}

TEST_F(StageLoopTest, SignalsThatAskForNoStop) {
  Serve();
  Signal(SIGUSR1);
  EXPECT_THAT(Said(), ElementsAre("dump"));
  Signal(SIGHUP);
  Ask();
  Signal(SIGHUP);
  loop_->log().Flush();
  EXPECT_TRUE(log_.Said(LogLevel::kWarning, "has no configuration to reload"));
  EXPECT_TRUE(log_.Said(LogLevel::kWarning, "refused, for a shutdown is in progress"));
}

TEST_F(StageLoopTest, AfterTheEndARequestChangesNothing) {
  idle_ = done_ = true;
  Serve();
  Signal(SIGINT);
  Said();
  Ask();
  Do([this] { loop_->OnAdopt({}, {}); });
  Do([this] { loop_->OnEnd(); });
  EXPECT_THAT(Said(), ElementsAre());
  EXPECT_EQ(loop_->receipt().requests.size(), 1u);
}

TEST_F(StageLoopTest, GoneBeforeAnybodyAskedEveryStageIsReached) {
  Serve();
  Do([this] { loop_->OnEnd(); });
  EXPECT_THAT(Said(), ElementsAre("first request", "entering cancel", "entering stopped", "counts",
                                  "stopped"));
  for (const Stage stage : {Stage::kDelay, Stage::kGrace, Stage::kCancel, Stage::kStopped}) {
    EXPECT_TRUE(loop_->termination().Reached(stage));
  }
}

}  // namespace
}  // namespace lastcall
