// Signals, draining, and what comes from incarnations that are over.
#include "supervisor_fixture.h"

namespace lastcall {
namespace {

using namespace std::chrono_literals;

constexpr Cause kOperator{.kind = Cause::Kind::kAdmin};

// A daemon that serves, whose member "a" is in `phase` and has forgotten how it came there.
class SupervisorTableTest : public SupervisorTest {
 protected:
  void Bring(Phase phase) {
    names_.clear();
    processes_.clear();
    observer_ = {};
    Serve({"a", "other"},
          phase == Phase::kDown ? RestartPolicy::kStayDown : RestartPolicy::kAlways);
    if (phase == Phase::kStopping) Request();
    if (phase != Phase::kRunning && phase != Phase::kStopping) Crash("a", SIGSEGV);
    if (phase == Phase::kStarting) Advance(BackOff::kFirst);
    ASSERT_EQ(member("a").current().phase, phase);
    process("a").TakeTold();
    process("other").TakeTold();
  }
};

// The table of supervisor.h: what becomes of a member, and what it is told.
TEST_F(SupervisorTableTest, EveryPhaseAnswersEveryEventAsTheTableSays) {
  struct Outcome {
    Phase phase;
    Told told = {};
  };
  const struct {
    Phase phase;
    Outcome ready, start_failed, exited, stop, instant;
  } rows[] = {
      {Phase::kStarting,
       {Phase::kRunning, {"accept"}},
       {Phase::kStarting},
       {Phase::kWaiting},
       {Phase::kStopping, {"stop"}},
       {Phase::kStarting, {"kill"}}},
      {Phase::kRunning,
       {Phase::kRunning},
       {Phase::kRunning},
       {Phase::kWaiting},
       {Phase::kStopping, {"stop"}},
       {Phase::kRunning}},
      {Phase::kStopping,
       {Phase::kStopping},
       {Phase::kStopping},
       {Phase::kDown},
       {Phase::kStopping, {"stop"}},
       {Phase::kStopping, {"kill"}}},
      {Phase::kWaiting,
       {Phase::kWaiting},
       {Phase::kWaiting},
       {Phase::kWaiting},
       {Phase::kDown},
       {Phase::kStarting, {"start 2"}}},
      {Phase::kDown,
       {Phase::kDown},
       {Phase::kDown},
       {Phase::kDown},
       {Phase::kDown},
       {Phase::kDown}},
  };
  for (const auto& row : rows) {
    const auto expect = [&](const char* event, const Outcome& outcome, auto happen) {
      SCOPED_TRACE(std::string(Name(row.phase)) + ": " + event);
      Bring(row.phase);
      happen();
      ExpectPhase("a", outcome.phase);
      ExpectTold("a", outcome.told);
    };
    expect("ready", row.ready, [&] { Ready("a"); });
    expect("start failed", row.start_failed, [&] { StartFailed("a", Code::kInternal, "x"); });
    expect("exited", row.exited, [&] { Crash("a", SIGSEGV); });
    expect("stop", row.stop, [&] { Request(); });
    expect("instant", row.instant, [&] {
      if (row.phase == Phase::kStopping) return Advance(kDelay + kGrace + kCancel);
      if (member("a").current().until != kNever)
        Advance(member("a").current().until - clock_.Now());
    });
  }
}

TEST_F(SupervisorTest, ASecondSigtermSkipsTheCurrentStage) {
  Serve({"a"});
  Signal(SIGTERM);
  Advance(600ms);
  Signal(SIGTERM);
  ExpectStage(Stage::kGrace);
  EXPECT_EQ(process("a").plan().grace, clock_.Now());
  EXPECT_EQ(process("a").plan().cancel, clock_.Now() + kGrace);
  Advance(1ms);
  Signal(SIGTERM);
  ExpectStage(Stage::kCancel);
  Advance(1ms);
  Signal(SIGTERM);
  ExpectStage(Stage::kStopped);
  ExpectTold("a", {"stop", "stop", "stop", "stop", "kill"});
  EXPECT_TRUE(log_.Said(LogLevel::kInfo, "again: stage grace is skipped"));
  Crash("a", SIGKILL);
  ExpectFinished(kExitForced);
  EXPECT_EQ(receipt().requests.size(), 4u);
}

TEST_F(SupervisorTest, ARepeatAtOnceIsMerged) {
  Serve({"a"});
  Signal(SIGTERM);
  Advance(500ms);
  Signal(SIGTERM);
  ExpectStage(Stage::kDelay);
  EXPECT_EQ(supervisor_->lifecycle().ledger().entries().size(), 2u);
}

TEST_F(SupervisorTest, ASigtermAfterAnAdminsRequestIsNoRepeat) {
  Serve({"a"});
  Request();
  Advance(4s);
  Signal(SIGTERM);
  ExpectStage(Stage::kDelay);
  Advance(600ms);
  Signal(SIGTERM);
  ExpectStage(Stage::kGrace);
}

TEST_F(SupervisorTest, SigintDropsTheDelayAtAnyMoment) {
  Serve({"a"});
  Signal(SIGTERM);
  Advance(100ms);
  Signal(SIGINT);  // too early for a repeat, yet its own table row holds
  ExpectStage(Stage::kGrace);
  EXPECT_EQ(process("a").plan().grace, clock_.Now());
}

TEST_F(SupervisorTest, SigquitCancelsNow) {
  Serve({"a"});
  Signal(SIGQUIT);
  ExpectStage(Stage::kCancel);
  EXPECT_EQ(process("a").plan(), (Plan{clock_.Now(), clock_.Now(), clock_.Now() + kCancel}));
}

TEST_F(SupervisorTest, SigquitCutsAShutdownShort) {
  Serve({"a"});
  Signal(SIGTERM);
  Advance(7s);
  ExpectStage(Stage::kGrace);
  Signal(SIGQUIT);
  ExpectStage(Stage::kCancel);
  EXPECT_EQ(process("a").plan().end, clock_.Now() + kCancel);
}

TEST_F(SupervisorTest, SighupReloadsAndIsRefusedDuringAShutdown) {
  Serve({"a"});
  Signal(SIGHUP);
  EXPECT_EQ(observer_.reloads(), 1);
  ExpectStage(Stage::kServing);
  Signal(SIGTERM);
  Signal(SIGHUP);
  EXPECT_EQ(observer_.reloads(), 1);
  EXPECT_TRUE(log_.Said(LogLevel::kWarning, "reload refused"));
  EXPECT_EQ(supervisor_->lifecycle().ledger().entries().size(), 1u);
}

TEST_F(SupervisorTest, SighupOfALostTerminalIsAShutdown) {
  Serve({"a"});
  Signal(SIGHUP, SI_KERNEL);
  EXPECT_EQ(observer_.reloads(), 0);
  ExpectStage(Stage::kDelay);
}

TEST_F(SupervisorTest, Sigusr1OnlyDumps) {
  Serve({"a"});
  Signal(SIGUSR1);
  EXPECT_EQ(observer_.dumps(), 1);
  ExpectStage(Stage::kServing);
  ExpectTold("a", {});
}

TEST_F(SupervisorTest, DrainingIsSetAndLiftedAndTellsWhetherItChanged) {
  Serve({"a", "b"});
  Advance(1min);
  EXPECT_TRUE(supervisor_->SetDraining("b-server", true, kOperator).value());
  EXPECT_FALSE(supervisor_->SetDraining("b-server", true, kOperator).value());
  ExpectTold("b", {"drain b-server"});
  ExpectTold("a", {});
  ASSERT_TRUE(supervisor_->draining().contains("b-server"));
  EXPECT_EQ(supervisor_->draining().at("b-server").since, clock_.Now());
  EXPECT_EQ(supervisor_->draining().at("b-server").by.kind, Cause::Kind::kAdmin);
  EXPECT_TRUE(supervisor_->SetDraining("b-server", false, kOperator).value());
  EXPECT_FALSE(supervisor_->SetDraining("b-server", false, kOperator).value());
  ExpectTold("b", {"undrain b-server"});
  EXPECT_TRUE(supervisor_->draining().empty());
  ExpectStage(Stage::kServing);
}

TEST_F(SupervisorTest, DrainingAnUnknownServerNamesTheKnownOnes) {
  Serve({"a", "b"});
  const auto refused = supervisor_->SetDraining("c-server", true, kOperator);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kNotFound);
  EXPECT_EQ(refused.error().message, "no server \"c-server\"; did you mean \"a-server\"?");
}

TEST_F(SupervisorTest, DrainingIsRefusedDuringAShutdown) {
  Serve({"a"});
  ASSERT_TRUE(supervisor_->SetDraining("a-server", true, kOperator));
  Signal(SIGTERM);
  process("a").TakeTold();
  const auto refused = supervisor_->SetDraining("a-server", false, kOperator);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kFailedPrecondition);
  ExpectTold("a", {});
}

// The process that is started next asks draining() for what it is to be.
TEST_F(SupervisorTest, DrainingSurvivesARestartAndCanBeChangedMeanwhile) {
  Serve({"a"});
  ASSERT_TRUE(supervisor_->SetDraining("a-server", true, kOperator));
  Crash("a", SIGSEGV);
  EXPECT_TRUE(supervisor_->draining().contains("a-server"));
  Advance(BackOff::kFirst);
  EXPECT_TRUE(supervisor_->draining().contains("a-server"));
  Ready("a");
  Crash("a", SIGSEGV);
  ASSERT_TRUE(supervisor_->SetDraining("a-server", false, kOperator).value());
  Advance(2 * BackOff::kFirst);
  EXPECT_FALSE(supervisor_->draining().contains("a-server"));
}

TEST_F(SupervisorTest, WhatAnEarlierIncarnationSaysIsIgnored) {
  Serve({"a"});
  Crash("a", SIGSEGV);
  Advance(BackOff::kFirst);
  process("a").events(1).Ready();
  ExpectPhase("a", Phase::kStarting);
  process("a").events(1).StartFailed(Error{Code::kInternal, "old"});
  EXPECT_EQ(member("a").current().start_error, "");
  process("a").events(1).Exited({.signal = SIGSEGV});
  ExpectPhase("a", Phase::kStarting);
  process("a").events(1).StageReached(Stage::kCancel);
  EXPECT_EQ(member("a").current().stage, Stage::kStarting);
  process("a").events(1).Reported({.exit_code = 4});
  EXPECT_FALSE(member("a").current().receipt);
  ExpectPhase("a", Phase::kStarting);
}

TEST_F(SupervisorTest, WhatALifeThatIsOverSaysIsIgnored) {
  Serve({"a"});
  Crash("a", SIGSEGV);
  Crash("a", SIGSEGV);  // told twice
  EXPECT_EQ(member("a").history().restarts, 1u);
  Reach("a", Stage::kCancel);
  Ready("a");
  ExpectPhase("a", Phase::kWaiting);
  Report("a", {.exit_code = kExitForced});
  Signal(SIGTERM);
  ExpectFinished(kExitAllFinished);
  EXPECT_TRUE(receipt().processes.empty());
}

TEST_F(SupervisorTest, AMembersStageNeverGoesBack) {
  Serve({"a"});
  Signal(SIGTERM);
  Reach("a", Stage::kGrace);
  Reach("a", Stage::kDelay);
  Reach("a", Stage::kServing);
  EXPECT_EQ(member("a").current().stage, Stage::kGrace);
  ExpectStage(Stage::kGrace);
}

TEST_F(SupervisorTest, EverythingAfterTheEndIsHarmless) {
  Serve({"a"});
  Signal(SIGTERM);
  Stop("a");
  ExpectFinished(kExitAllFinished);
  const int changes = observer_.changes();
  Signal(SIGTERM);
  Signal(SIGQUIT);
  Signal(SIGHUP);
  EXPECT_FALSE(Request(0s, 0s));
  Ready("a");
  Exit("a", 1);
  Advance(1h);
  supervisor_->OnTick();
  EXPECT_EQ(observer_.reloads(), 0);
  EXPECT_EQ(observer_.changes(), changes);
  ExpectStage(Stage::kStopped);
  ExpectFinished(kExitAllFinished);
}

TEST_F(SupervisorTest, WhateverAStatusShowsIsAnnounced) {
  Start({"a"});
  const auto announces = [&](auto happen) {
    const int before = observer_.changes();
    happen();
    return observer_.changes() > before;
  };
  EXPECT_TRUE(announces([&] { Ready("a"); }));
  EXPECT_TRUE(announces([&] { (void)supervisor_->SetDraining("a-server", true, kOperator); }));
  EXPECT_TRUE(announces([&] { Crash("a", SIGSEGV); }));
  EXPECT_TRUE(announces([&] { Advance(BackOff::kFirst); }));
  EXPECT_TRUE(announces([&] { Signal(SIGTERM); }));
  EXPECT_TRUE(announces([&] { Reach("a", Stage::kGrace); }));
}

TEST(ExitStatusTest, DescriptionsNameTheSignalOrTheCode) {
  EXPECT_EQ(Describe(ExitStatus{.code = 3}), "exit code 3");
  EXPECT_EQ(Describe(ExitStatus{.signal = SIGSEGV}), "killed by SIGSEGV");
  EXPECT_EQ(Describe(ExitStatus{.signal = SIGKILL, .misconduct = "it sent too much"}),
            "killed by lastcalld: it sent too much");
  EXPECT_TRUE(ExitStatus{}.clean());
  EXPECT_FALSE((ExitStatus{.code = 1}.clean()));
  EXPECT_FALSE((ExitStatus{.signal = SIGTERM}.clean()));
}

TEST(PhaseTest, NamesAreTheWordsOfTheTable) {
  using Phase = Phase;
  EXPECT_EQ(Name(Phase::kStarting), "starting");
  EXPECT_EQ(Name(Phase::kRunning), "running");
  EXPECT_EQ(Name(Phase::kStopping), "stopping");
  EXPECT_EQ(Name(Phase::kWaiting), "waiting");
  EXPECT_EQ(Name(Phase::kDown), "down");
}

}  // namespace
}  // namespace lastcall
