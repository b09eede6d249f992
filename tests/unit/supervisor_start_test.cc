// Starting, failing to start, and starting again.
#include "supervisor_fixture.h"

namespace lastcall {
namespace {

using namespace std::chrono_literals;

TEST_F(SupervisorTest, StartsEveryMemberAndServesWhenAllAreReady) {
  Start({"a", "b"});
  ExpectTold("a", {"start 1"});
  ExpectTold("b", {"start 1"});
  ExpectPhase("a", Phase::kStarting);
  ExpectStage(Stage::kStarting);
  Ready("b");
  ExpectPhase("b", Phase::kRunning);
  ExpectStage(Stage::kStarting);
  Ready("a");
  ExpectStage(Stage::kServing);
  EXPECT_EQ(observer_.stages(), Stages{Stage::kServing});
  EXPECT_EQ(supervisor_->next_instant(), kNever);
}

// Should another one fail to start, the daemon ends, and with it whatever was accepted.
TEST_F(SupervisorTest, NobodyAcceptsBeforeAllAreReadyAtTheFirstStart) {
  Start({"a", "b"});
  Ready("a");
  ExpectTold("a", {"start 1"});
  Ready("b");
  ExpectTold("a", {"accept"});
  ExpectTold("b", {"start 1", "accept"});
}

TEST_F(SupervisorTest, WithoutMembersItServesAtOnceAndStopsAtOnce) {
  Start({});
  ExpectStage(Stage::kServing);
  Signal(SIGTERM);
  ExpectFinished(kExitAllFinished);
}

TEST_F(SupervisorTest, ReadySaidTwiceIsHeardOnce) {
  Serve({"a"});
  Ready("a");
  ExpectTold("a", {});
}

TEST_F(SupervisorTest, AFirstStartThatFailsStopsTheOthersAndTheDaemon) {
  const struct {
    Code code;
    int exit_code;
  } rows[] = {{Code::kInvalidArgument, 78},
              {Code::kNotFound, 78},
              {Code::kFailedPrecondition, 78},
              {Code::kInternal, 70},
              {Code::kUnavailable, 70}};
  for (const auto& row : rows) {
    names_.clear();
    processes_.clear();
    observer_ = {};
    Start({"a", "b", "c"});
    Ready("a");
    StartFailed("b", row.code, "plugin echo: no greeting");
    ExpectPhase("b", Phase::kStarting);  // it is not gone yet
    Exit("b", row.exit_code);
    ExpectPhase("b", Phase::kDown);
    ExpectTold("a", {"start 1", "stop"});  // never "accept"
    ExpectTold("c", {"start 1", "stop"});
    ExpectStage(Stage::kCancel);
    Stop("c");
    ExpectNotFinished();
    Stop("a");
    ExpectFinished(row.exit_code);
    EXPECT_EQ(receipt().failure, "process b: plugin echo: no greeting");
    ASSERT_EQ(receipt().requests.size(), 1u);
    EXPECT_EQ(Describe(receipt().requests[0].request.cause),
              "process b: cannot start: plugin echo: no greeting");
    EXPECT_EQ(observer_.stages(), (Stages{Stage::kCancel, Stage::kStopped}));
  }
}

TEST_F(SupervisorTest, AMemberThatDiesInItsFirstStartWithoutAWordIsNamed) {
  Start({"a"});
  Crash("a", SIGSEGV);
  ExpectFinished(70);
  EXPECT_EQ(receipt().failure, "process a: killed by SIGSEGV");
  EXPECT_TRUE(log_.Said(LogLevel::kError, "process a: killed by SIGSEGV"));
}

TEST_F(SupervisorTest, AReadyMemberThatDiesWhileOthersStartStopsTheDaemonToo) {
  Start({"a", "b"});
  Ready("a");
  Exit("a", 0);
  ExpectStage(Stage::kCancel);
  Stop("b");
  ExpectFinished(70);
}

TEST_F(SupervisorTest, TheSecondFailureOfAFirstStartIsInItsOwnReceipt) {
  Start({"a", "b"});
  StartFailed("a", Code::kInternal, "one");
  Exit("a", 70);
  StartFailed("b", Code::kInvalidArgument, "two");
  Exit("b", 78);
  ExpectFinished(70);
  EXPECT_EQ(receipt().failure, "process a: one");
  EXPECT_EQ(receipt("b").failure, "could not start: two");
}

TEST_F(SupervisorTest, AMemberThatIsNotReadyInTimeIsKilled) {
  Start({"a"});
  EXPECT_EQ(supervisor_->next_instant(), clock_.Now() + kReady);
  Advance(kReady - 1ns);
  ExpectTold("a", {"start 1"});
  Advance(1ns);
  ExpectTold("a", {"kill"});
  EXPECT_EQ(supervisor_->next_instant(), kNever);  // its end is told, not waited for
  Ready("a");                                      // too late
  ExpectPhase("a", Phase::kStarting);
  Crash("a", SIGKILL);
  ExpectFinished(70);
  EXPECT_EQ(receipt().failure, "process a: not ready within 30s");
}

TEST_F(SupervisorTest, AServingMemberThatDiesIsStartedAgainAndTheOthersGoOn) {
  Serve({"a", "b"});
  Crash("a", SIGSEGV);
  ExpectPhase("a", Phase::kWaiting);
  ExpectStage(Stage::kServing);
  EXPECT_EQ(member("a").history().last_failure, "killed by SIGSEGV");
  EXPECT_EQ(member("a").history().restarts, 1u);
  Advance(BackOff::kFirst - 1ns);
  ExpectTold("a", {});
  Advance(1ns);
  ExpectTold("a", {"start 2"});
  ExpectPhase("a", Phase::kStarting);
  Ready("a");
  ExpectTold("a", {"accept"});  // at once: the daemon serves
  ExpectPhase("a", Phase::kRunning);
  ExpectTold("b", {});
  EXPECT_EQ(observer_.stages(), Stages{Stage::kServing});
  EXPECT_TRUE(log_.Said(LogLevel::kWarning, "process a: killed by SIGSEGV; restarting in "));
}

TEST_F(SupervisorTest, ARestartThatFailsIsTriedAgainAndStopsNobody) {
  Serve({"a"});
  Exit("a", 1);
  Advance(BackOff::kFirst);
  StartFailed("a", Code::kInvalidArgument, "no greeting");
  Exit("a", 78);
  ExpectPhase("a", Phase::kWaiting);
  ExpectStage(Stage::kServing);
  EXPECT_EQ(member("a").history().last_failure, "no greeting");
  Advance(2 * BackOff::kFirst);
  EXPECT_EQ(Current("a"), 3u);
  Advance(kReady);
  Crash("a", SIGKILL);
  EXPECT_EQ(member("a").history().last_failure, "not ready within 30s");
  ExpectPhase("a", Phase::kWaiting);
  // Nothing of it sticks to the next incarnation.
  Advance(4 * BackOff::kFirst);
  Ready("a");
  ExpectPhase("a", Phase::kRunning);
  Crash("a", SIGSEGV);
  EXPECT_EQ(member("a").history().last_failure, "killed by SIGSEGV");
}

TEST_F(SupervisorTest, ARestartThatFailsIsNoHealthyIncarnationHoweverLongTheOneBeforeWas) {
  Serve({"a"});
  Advance(1h);
  Crash("a", SIGSEGV);
  Advance(BackOff::kFirst);
  Crash("a", SIGSEGV);
  EXPECT_EQ(member("a").current().until - clock_.Now(), 2 * BackOff::kFirst);
}

TEST_F(SupervisorTest, AFailedStartThatIsToldTooLateExplainsNothing) {
  Serve({"a"});
  StartFailed("a", Code::kInternal, "late");
  Crash("a", SIGSEGV);
  EXPECT_EQ(member("a").history().last_failure, "killed by SIGSEGV");
}

TEST_F(SupervisorTest, PoliciesDecideWhatBecomesOfAMemberThatEnded) {
  const struct {
    RestartPolicy policy;
    Phase after_clean, after_code, after_signal;
  } rows[] = {
      {RestartPolicy::kAlways, Phase::kWaiting, Phase::kWaiting, Phase::kWaiting},
      {RestartPolicy::kOnFailure, Phase::kDown, Phase::kWaiting, Phase::kWaiting},
      {RestartPolicy::kStayDown, Phase::kDown, Phase::kDown, Phase::kDown},
  };
  for (const auto& row : rows) {
    names_.clear();
    processes_.clear();
    Serve({"a", "b", "c"}, row.policy);
    Exit("a", 0);
    Exit("b", 1);
    Crash("c", SIGABRT);
    ExpectPhase("a", row.after_clean);
    ExpectPhase("b", row.after_code);
    ExpectPhase("c", row.after_signal);
    ExpectStage(Stage::kServing);
  }
}

TEST_F(SupervisorTest, AMemberThatStaysDownIsNeverStartedAgain) {
  Serve({"a"}, RestartPolicy::kStayDown);
  Crash("a", SIGSEGV);
  EXPECT_TRUE(log_.Said(LogLevel::kWarning, "stays down by its restart policy"));
  EXPECT_EQ(supervisor_->next_instant(), kNever);
  Advance(1h);
  ExpectTold("a", {});
  Signal(SIGTERM);
  ExpectFinished(kExitAllFinished);
}

TEST_F(SupervisorTest, BackOffDoublesUpToTenSecondsAndBeginsAgainAfterHalfAMinute) {
  Serve({"a"});
  const auto wait_after_living = [&](Duration lived) {
    Advance(lived);
    Crash("a", SIGSEGV);
    const Duration wait = member("a").current().until - clock_.Now();
    Advance(wait);
    Ready("a");
    return wait;
  };
  for (const Duration wait :
       {100ms, 200ms, 400ms, 800ms, 1600ms, 3200ms, 6400ms, 10'000ms, 10'000ms}) {
    EXPECT_EQ(wait_after_living(1s), wait);
  }
  EXPECT_EQ(wait_after_living(30s - 1ns), 10s);
  EXPECT_EQ(wait_after_living(30s), 100ms);
  EXPECT_EQ(wait_after_living(0s), 200ms);
}

// What counts is how long it served, not how long it took to start.
TEST_F(SupervisorTest, ASlowStartIsNoHealthyIncarnation) {
  Serve({"a"});
  for (const Duration wait : {100ms, 200ms, 400ms}) {
    Crash("a", SIGSEGV);
    EXPECT_EQ(member("a").current().until - clock_.Now(), wait);
    Advance(wait);
    Advance(kReady - 1ns);
    Ready("a");
    Advance(1s);
  }
}

TEST_F(SupervisorTest, AMemberThatStopsByItselfIsStartedAgainOnceItIsGone) {
  Serve({"a"});
  Advance(1h);
  Crash("a", SIGSEGV);
  Advance(BackOff::kFirst);
  Ready("a");
  process("a").TakeTold();
  Advance(1h);
  Reach("a", Stage::kDelay);  // a signal sent to it alone
  ExpectPhase("a", Phase::kStopping);
  ExpectStage(Stage::kServing);
  EXPECT_EQ(supervisor_->next_instant(), kNever);
  Advance(10s);
  Stop("a");
  ExpectPhase("a", Phase::kWaiting);
  // It lived for an hour: the back-off begins from the beginning.
  EXPECT_EQ(member("a").current().until, clock_.Now() + BackOff::kFirst);
  Advance(BackOff::kFirst);
  ExpectTold("a", {"start 3"});
  Ready("a");
  // The receipt of that incarnation is not the daemon's.
  Signal(SIGTERM);
  Crash("a", SIGSEGV);
  ExpectFinished(kExitCallsCancelled);
  EXPECT_EQ(receipt("a").failure, "killed by SIGSEGV");
}

TEST_F(SupervisorTest, AMemberThatStopsByItselfStaysDownWhereThePolicySaysSo) {
  Serve({"a"}, RestartPolicy::kOnFailure);
  Reach("a", Stage::kGrace);
  Stop("a");
  ExpectPhase("a", Phase::kDown);
  ExpectStage(Stage::kServing);
}

}  // namespace
}  // namespace lastcall
