// Stopping: stages, deaths on the way, the last instant, and the receipt.
#include "supervisor_fixture.h"

namespace lastcall {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;

TEST_F(SupervisorTest, AStopTellsEveryMemberThePlanAndWhoAsked) {
  Serve({"a", "b"});
  const Instant now = clock_.Now();
  Signal(SIGTERM);
  for (const std::string& name : names_) {
    ExpectTold(name, {"stop"});
    ExpectPhase(name, Phase::kStopping);
    EXPECT_EQ(process(name).plan(),
              (Plan{now + kDelay, now + kDelay + kGrace, now + kDelay + kGrace + kCancel}));
    ASSERT_EQ(process(name).requests().size(), 1u);
    EXPECT_EQ(process(name).requests()[0].request.cause.signal, SIGTERM);
  }
  ExpectStage(Stage::kDelay);
  EXPECT_EQ(supervisor_->next_instant(), now + kDelay);
}

TEST_F(SupervisorTest, TheDaemonsStageIsThatOfTheSlowestMember) {
  Serve({"a", "b"});
  Signal(SIGTERM);
  Reach("a", Stage::kGrace);
  ExpectStage(Stage::kDelay);
  Reach("b", Stage::kGrace);
  ExpectStage(Stage::kGrace);
  Reach("b", Stage::kCancel);
  Stop("b");
  ExpectStage(Stage::kGrace);
  Reach("a", Stage::kCancel);
  ExpectStage(Stage::kCancel);
  Stop("a");
  ExpectFinished(kExitAllFinished);
  EXPECT_THAT(observer_.stages(), ElementsAre(Stage::kServing, Stage::kDelay, Stage::kGrace,
                                              Stage::kCancel, Stage::kStopped));
}

TEST_F(SupervisorTest, AnIdleDaemonStopsWithoutTime) {
  Serve({"a", "b"});
  Signal(SIGTERM);
  Stop("a");
  Stop("b");
  ExpectFinished(kExitAllFinished);
  EXPECT_EQ(receipt().took, 0s);
  EXPECT_EQ(receipt().failure, "");
  EXPECT_EQ(receipt().subject, "lastcalld");
  ASSERT_EQ(receipt().stages.size(), 3u);
  EXPECT_EQ(receipt().stages[0].ended_by, Event::kWentQuiet);
  EXPECT_EQ(receipt().stages[1].ended_by, Event::kWentIdle);
  EXPECT_EQ(receipt().stages[2].ended_by, Event::kCompleted);
}

TEST_F(SupervisorTest, AStopWhileStartingGoesToCancelAndEndsWell) {
  Start({"a", "b"});
  Ready("a");
  Signal(SIGTERM);
  ExpectStage(Stage::kCancel);
  ExpectTold("a", {"start 1", "stop"});
  ExpectTold("b", {"start 1", "stop"});
  Ready("b");  // it crossed the order to stop
  ExpectTold("b", {});
  ExpectPhase("b", Phase::kStopping);
  Advance(1s);
  Stop("a");
  Stop("b");
  ExpectFinished(kExitAllFinished);
}

// It had taken no call: there is nothing that could have been lost.
TEST_F(SupervisorTest, AMemberThatDiesBeforeItAcceptedCancelledNoCall) {
  Start({"a"});
  Signal(SIGTERM);
  Crash("a", SIGABRT);
  ExpectFinished(kExitAllFinished);
  EXPECT_EQ(receipt("a").failure, "killed by SIGABRT");
  EXPECT_EQ(receipt().Outcome(), "stopped in 0s, process a killed by SIGABRT, no call cancelled");
}

TEST_F(SupervisorTest, AMemberThatWaitsToBeStartedAgainIsNot) {
  Serve({"a", "b"});
  Crash("a", SIGSEGV);
  Signal(SIGTERM);
  ExpectPhase("a", Phase::kDown);
  ExpectTold("a", {});
  Advance(1s);
  ExpectTold("a", {});
  Stop("b");
  ExpectFinished(kExitAllFinished);
  EXPECT_EQ(receipt().processes.size(), 1u);  // a's incarnation was over before
}

TEST_F(SupervisorTest, AMemberThatDiesWhileStoppingIsInTheReceiptWhateverTheStage) {
  for (const Stage stage : {Stage::kDelay, Stage::kGrace, Stage::kCancel}) {
    names_.clear();
    processes_.clear();
    observer_ = {};
    Serve({"a", "b"});
    Signal(SIGTERM);
    for (const std::string& name : names_) Reach(name, stage);
    ExpectStage(stage);
    Crash("a", SIGSEGV);
    ExpectPhase("a", Phase::kDown);
    ExpectTold("a", {"stop"});  // and it is not started again
    ExpectNotFinished();
    Stop("b");
    ExpectFinished(kExitCallsCancelled);
    EXPECT_EQ(receipt("a").failure, "killed by SIGSEGV");
    EXPECT_EQ(receipt("a").exit_code, kExitCallsCancelled);
    EXPECT_EQ(receipt("b").exit_code, kExitAllFinished);
    EXPECT_EQ(receipt().failure, "process a killed by SIGSEGV");
  }
}

TEST_F(SupervisorTest, AMemberThatEndsWithACodeAndNoReceiptLostItsCalls) {
  Serve({"a"});
  Signal(SIGTERM);
  Exit("a", 1);
  ExpectFinished(kExitCallsCancelled);
  EXPECT_EQ(receipt("a").failure, "exit code 1");
}

// A program that is not our host writes no receipt; a clean end is one all the same.
TEST_F(SupervisorTest, AMemberThatEndsCleanlyWithoutAReceiptIsNoFailure) {
  Serve({"a"});
  Signal(SIGTERM);
  Exit("a", 0);
  ExpectFinished(kExitAllFinished);
  EXPECT_EQ(receipt("a").failure, "");
}

TEST_F(SupervisorTest, WhateverDoesNotEndIsKilledWhenThePlanEnds) {
  Serve({"a", "b"});
  Signal(SIGTERM);
  Stop("b");
  Advance(kDelay + kGrace + kCancel - 1ns);
  ExpectStage(Stage::kCancel);
  ExpectTold("a", {"stop"});
  Advance(1ns);
  ExpectTold("a", {"kill"});
  ExpectTold("b", {"stop"});  // it is gone: nobody is killed twice
  ExpectStage(Stage::kStopped);
  ExpectNotFinished();  // its end is still to come
  Advance(10ms);
  Crash("a", SIGKILL);
  ExpectFinished(kExitForced);
  EXPECT_EQ(receipt("a").failure, "did not end in time and was killed");
  EXPECT_EQ(receipt().took, kDelay + kGrace + kCancel + 10ms);
}

// A supervisor that was stopped for a while kills first and hears afterwards.
TEST_F(SupervisorTest, AMemberThatHadEndedBeforeItWasKilledWasNotForced) {
  Serve({"a"});
  Signal(SIGTERM);
  clock_.Advance(1h);
  supervisor_->OnTick();
  ExpectTold("a", {"stop", "kill"});
  Stop("a");
  ExpectFinished(kExitAllFinished);
  EXPECT_EQ(receipt("a").failure, "");
}

TEST_F(SupervisorTest, WhatDoesNotEvenDieIsLeftBehindAfterASecond) {
  Serve({"a"});
  Signal(SIGTERM);
  Advance(kDelay + kGrace + kCancel);
  const Instant end = clock_.Now();
  EXPECT_EQ(supervisor_->next_instant(), end + 1s);
  Advance(1s - 1ns);
  ExpectNotFinished();
  Advance(1ns);
  ExpectFinished(kExitForced);
  EXPECT_EQ(receipt("a").failure, "was killed and is not gone yet");
  Crash("a", SIGKILL);  // its end comes after all
  ExpectFinished(kExitForced);
}

// The receipt is written before the process has ended, and its end may still go wrong.
TEST_F(SupervisorTest, AReceiptThatPromisedTooMuchIsCorrected) {
  Serve({"hangs", "crashes", "stays"});
  Signal(SIGTERM);
  Report("hangs", {.exit_code = kExitAllFinished, .calls_finished = 1});
  Report("crashes", {.exit_code = kExitAllFinished, .calls_finished = 2});
  Report("stays", {.exit_code = kExitAllFinished, .calls_finished = 4});
  Crash("crashes", SIGSEGV);
  Advance(kDelay + kGrace + kCancel);
  Crash("hangs", SIGKILL);
  Advance(1s);
  ExpectFinished(kExitForced);
  EXPECT_EQ(receipt().calls_finished, 7u);
  EXPECT_EQ(receipt("crashes").failure, "killed by SIGSEGV");
  EXPECT_EQ(receipt("crashes").exit_code, kExitAllFinished);  // its calls were over
  EXPECT_EQ(receipt("hangs").failure, "did not end in time and was killed");
  EXPECT_EQ(receipt("hangs").exit_code, kExitForced);
  EXPECT_EQ(receipt("stays").failure, "was killed and is not gone yet");
  EXPECT_EQ(receipt("stays").exit_code, kExitForced);
}

TEST_F(SupervisorTest, TheReceiptAddsUpThoseOfTheMembers) {
  Serve({"a", "b"});
  Signal(SIGTERM);
  Advance(1s);
  Report("a", {.exit_code = kExitCallsCancelled,
               .calls_finished = 10,
               .calls_cancelled = 1,
               .cancelled = {{.server = "a-server", .method = "/x.Y/Z"}}});
  Exit("a", 3);
  Report("b", {.exit_code = kExitForced,
               .calls_finished = 5,
               .calls_cancelled = 2,
               .stuck = {{.name = "plugin prices: Stop"}}});
  Exit("b", 4);
  ExpectFinished(kExitForced);
  EXPECT_EQ(receipt().calls_finished, 15u);
  EXPECT_EQ(receipt().calls_cancelled, 3u);
  EXPECT_EQ(receipt().cancelled.size(), 1u);
  EXPECT_EQ(receipt().stuck.size(), 1u);
  EXPECT_TRUE(receipt("a").cancelled.empty());
  EXPECT_TRUE(receipt("b").stuck.empty());
  EXPECT_EQ(receipt().took, 1s);
  EXPECT_EQ(receipt().began, FakeClock::kStartWall);
  EXPECT_EQ(receipt().requests.size(), 1u);
}

// 70 and 78 are not worse than "forced": they say nothing of calls.
TEST_F(SupervisorTest, ARestartThatFailsDuringAShutdownIsNotForced) {
  Serve({"a"});
  Crash("a", SIGSEGV);
  Advance(BackOff::kFirst);
  Signal(SIGTERM);
  ExpectTold("a", {"start 2", "stop"});
  StartFailed("a", Code::kInternal, "no licence");
  Report("a", {.exit_code = 70});
  Exit("a", 70);
  ExpectFinished(kExitAllFinished);
  EXPECT_EQ(receipt("a").exit_code, 70);
}

TEST_F(SupervisorTest, AShorterRequestIsToldAgainAndALongerOneMovesNothing) {
  Serve({"a"});
  EXPECT_TRUE(Request());
  const Plan first = process("a").plan();
  EXPECT_FALSE(Request(kDelay * 2));
  EXPECT_EQ(process("a").plan(), first);
  EXPECT_TRUE(log_.Said(LogLevel::kInfo, "schedule unchanged"));
  EXPECT_TRUE(Request({}, 1s));
  EXPECT_EQ(process("a").plan().cancel, clock_.Now() + kDelay + 1s);
  EXPECT_EQ(process("a").requests().size(), 3u);
  ExpectTold("a", {"stop", "stop", "stop"});
}

TEST_F(SupervisorTest, ARequestThatEndsTheStageIsToldBeforeTheStageIsAnnounced) {
  Serve({"a"});
  Request(0s, 0s);
  ExpectTold("a", {"stop"});
  EXPECT_EQ(process("a").plan().cancel, clock_.Now());
  ExpectStage(Stage::kCancel);
}

TEST_F(SupervisorTest, AMemberThatStopsByItselfIsToldThePlanToo) {
  Serve({"a"});
  Reach("a", Stage::kGrace);
  Signal(SIGTERM);
  ExpectTold("a", {"stop"});
  ExpectStage(Stage::kGrace);  // it is there already
  Stop("a");
  ExpectFinished(kExitAllFinished);
}

TEST_F(SupervisorTest, MembersThatAreDownDoNotHoldTheStagesUp) {
  Serve({"a", "b"}, RestartPolicy::kStayDown);
  Crash("a", SIGSEGV);
  Signal(SIGTERM);
  ExpectStage(Stage::kDelay);
  Reach("b", Stage::kCancel);
  ExpectStage(Stage::kCancel);
  Stop("b");
  ExpectFinished(kExitAllFinished);
}

TEST_F(SupervisorTest, WithoutAnyLengthEverythingIsKilledAtOnce) {
  budget_ = {.delay = 0s, .grace = 0s, .cancel = 0s};
  Serve({"a"});
  Signal(SIGTERM);
  ExpectTold("a", {"stop", "kill"});
  Crash("a", SIGKILL);
  ExpectFinished(kExitForced);
}

TEST_F(SupervisorTest, AnEndlessGraceWaitsForTheCallsAndNothingElse) {
  budget_.grace = kForever;
  Serve({"a"});
  Signal(SIGTERM);
  Advance(kDelay);
  ExpectStage(Stage::kGrace);
  EXPECT_EQ(supervisor_->next_instant(), kNever);
  Advance(24h);
  ExpectTold("a", {"stop"});
  Reach("a", Stage::kCancel);
  EXPECT_EQ(supervisor_->next_instant(), clock_.Now() + kCancel);
  Stop("a");
  ExpectFinished(kExitAllFinished);
}

TEST_F(SupervisorTest, AnOversleptShutdownEndsWhenItIsNoticed) {
  Serve({"a"});
  Signal(SIGTERM);
  process("a").TakeTold();
  clock_.Advance(1h);
  supervisor_->OnTick();
  ExpectTold("a", {"kill"});
  EXPECT_THAT(observer_.stages(), ElementsAre(Stage::kServing, Stage::kDelay, Stage::kGrace,
                                              Stage::kCancel, Stage::kStopped));
}

}  // namespace
}  // namespace lastcall
