// Replacing processes while they serve: every way in which a successor comes, fails, or takes over.
#include "supervisor_fixture.h"

namespace lastcall {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;

class ReplaceTest : public SupervisorTest {
 protected:
  using Kind = Supervisor::Change::Kind;
  static constexpr Duration kSettle = 2s, kRetire = 10min;

  // Begins a change; what comes of it is in outcomes_.
  void Change(const std::string& name, Kind kind = Kind::kReplace) { Changes({name}, kind); }
  void Changes(std::initializer_list<std::string> names, Kind kind = Kind::kReplace) {
    std::vector<Supervisor::Change> changes;
    for (const std::string& name : names) {
      if (kind == Kind::kAdd && At(name) == names_.size()) {
        names_.push_back(name);
        processes_.push_back(std::make_unique<FakeProcess>());
      }
      changes.push_back({kind, Spec(name)});
    }
    const auto begun = supervisor_->BeginChanges(
        std::move(changes), {.kind = Cause::Kind::kAdmin, .who = "test"}, [this](const auto& all) {
          ++over_;
          outcomes_.clear();
          for (const Supervisor::Outcome& one : all) {
            outcomes_.push_back(
                one.process + ": " +
                (one.failure.empty() ? std::to_string(one.incarnation) : one.failure));
          }
        });
    ASSERT_TRUE(begun) << begun.error().message;
  }

  uint32_t Next(const std::string& name) { return member(name).successor()->number; }
  void NextReady(const std::string& name) { process(name).events(Next(name)).Ready(); }
  void NextExits(const std::string& name, ExitStatus status) {
    process(name).events(Next(name)).Exited(status);
  }
  // The whole way.
  void Replace(const std::string& name) {
    Change(name);
    NextReady(name);
    Advance(kSettle);
  }

  int over_ = 0;
  std::vector<std::string> outcomes_;
};

TEST_F(ReplaceTest, TheSuccessorTakesOverAndTheOldOneRetires) {
  Serve({"a"});
  Change("a");
  ExpectTold("a", {"start 2"});
  NextReady("a");
  ExpectTold("a", {"accept", "pause (1)"});
  EXPECT_EQ(Current("a"), 1u) << "until it has settled";
  Advance(kSettle);
  ExpectTold("a", {"retire (1)"});
  EXPECT_EQ(Current("a"), 2u);
  EXPECT_EQ(process("a").plan().cancel, clock_.Now() + kRetire);
  EXPECT_EQ(process("a").plan().end, clock_.Now() + kRetire + kCancel);
  EXPECT_THAT(outcomes_, ElementsAre("a: 2"));
  ASSERT_EQ(member("a").retired().size(), 1u);

  process("a").events(1).Reported(Receipt{.subject = "a", .incarnation = 1, .calls_finished = 7});
  process("a").events(1).Exited({});
  EXPECT_TRUE(member("a").retired().empty());
  ASSERT_EQ(observer_.retired().size(), 1u);
  EXPECT_EQ(observer_.retired()[0].calls_finished, 7u);
  ExpectStage(Stage::kServing);
}

TEST_F(ReplaceTest, ASuccessorThatFailsChangesNothing) {
  Serve({"a"});
  Change("a");
  process("a").events(Next("a")).StartFailed(Error{Code::kInvalidArgument, "no such plugin"});
  NextExits("a", {.code = 78});
  EXPECT_THAT(outcomes_, ElementsAre("a: no such plugin"));
  ExpectTold("a", {"start 2"});
  ExpectPhase("a", Phase::kRunning);
  EXPECT_EQ(Current("a"), 1u);
  EXPECT_EQ(supervisor_->next_instant(), kNever);
  EXPECT_TRUE(log_.Said(LogLevel::kError, "the old one goes on"));
  // Its number is not used again.
  Replace("a");
  EXPECT_EQ(Current("a"), 3u);
}

TEST_F(ReplaceTest, ASuccessorThatIsNotReadyInTimeIsKilled) {
  Serve({"a"});
  Change("a");
  Advance(kReady);
  ExpectTold("a", {"start 2", "kill"});
  EXPECT_EQ(over_, 0) << "it is still there";
  NextExits("a", {.signal = SIGKILL});
  EXPECT_THAT(outcomes_, ElementsAre("a: not ready within 30s"));
  ExpectPhase("a", Phase::kRunning);
}

TEST_F(ReplaceTest, ASuccessorThatDiesBeforeItHasSettledGivesBack) {
  Serve({"a"});
  Change("a");
  NextReady("a");
  Advance(kSettle - 1ms);
  process("a").TakeTold();
  NextExits("a", {.signal = SIGSEGV});
  ExpectTold("a", {"accept (1)"});
  EXPECT_THAT(outcomes_, ElementsAre("a: killed by SIGSEGV"));
  ExpectPhase("a", Phase::kRunning);
  EXPECT_EQ(Current("a"), 1u);
}

TEST_F(ReplaceTest, TheOldOneDiesWhileItsSuccessorStarts) {
  Serve({"a"});
  Change("a");
  Crash("a", SIGSEGV);
  ExpectPhase("a", Phase::kDown);
  EXPECT_EQ(supervisor_->next_instant(), clock_.Now() + kReady) << "nothing else is started";
  NextReady("a");
  ExpectTold("a", {"start 2", "accept"});
  EXPECT_THAT(outcomes_, ElementsAre("a: 2"));
  EXPECT_TRUE(member("a").retired().empty());
  EXPECT_EQ(member("a").history().restarts, 0u) << "it was replaced";
  EXPECT_EQ(member("a").history().last_failed, 1u);
}

TEST_F(ReplaceTest, BothDieAndTheOldOneIsStartedAgain) {
  Serve({"a"});
  Change("a");
  Crash("a", SIGSEGV);
  NextExits("a", {.code = 1});
  ExpectTold("a", {"start 2", "start 3"});
  EXPECT_THAT(outcomes_, ElementsAre("a: exit code 1"));
  Ready("a");
  ExpectTold("a", {"accept"});
  ExpectPhase("a", Phase::kRunning);
  EXPECT_EQ(member("a").history().restarts, 1u);
  EXPECT_EQ(member("a").history().last_failed, 1u);
}

TEST_F(ReplaceTest, TheOldOneDiesBeforeItsSuccessorHasSettled) {
  Serve({"a"});
  Change("a");
  NextReady("a");
  process("a").TakeTold();
  Crash("a", SIGSEGV);
  ExpectTold("a", {});
  EXPECT_THAT(outcomes_, ElementsAre("a: 2"));
  EXPECT_EQ(Current("a"), 2u);
  ExpectPhase("a", Phase::kRunning);
}

TEST_F(ReplaceTest, AnOldOneThatStopsByItselfIsNotForgotten) {
  Serve({"a"});
  Change("a");
  Reach("a", Stage::kGrace);  // somebody sent a signal to it alone
  NextExits("a", {.code = 1});
  ExpectTold("a", {"start 2"});
  ExpectPhase("a", Phase::kStopping);
  EXPECT_THAT(outcomes_, ElementsAre("a: exit code 1"));
  Exit("a", 0);
  ExpectPhase("a", Phase::kWaiting);
}

// What was before it counts no more.
TEST_F(ReplaceTest, OneThatHasTakenThePlaceOfOneThatStaysDownIsStartedAgain) {
  Serve({"a"}, RestartPolicy::kOnFailure);
  process("a").events(1).Exited({});
  ExpectPhase("a", Phase::kDown);
  Replace("a");
  Change("a");
  process("a").events(2).Exited({.code = 1});
  NextExits("a", {.code = 1});
  EXPECT_TRUE(log_.Said(LogLevel::kError, "the old one is restarted"));
  ExpectPhase("a", Phase::kStarting);
}

TEST_F(ReplaceTest, OneThatStaysDownIsNotStartedByAFailure) {
  Serve({"a"}, RestartPolicy::kStayDown);
  Crash("a", SIGSEGV);
  Change("a");
  NextExits("a", {.code = 1});
  ExpectTold("a", {"start 2"});
  ExpectPhase("a", Phase::kDown);
}

TEST_F(ReplaceTest, TheOldOneAcceptsAsSoonAsItsSuccessorStops) {
  Serve({"a"});
  Change("a");
  NextReady("a");
  process("a").TakeTold();
  process("a").events(Next("a")).StageReached(Stage::kDelay);
  ExpectTold("a", {"accept (1)"});
  NextExits("a", {});
  EXPECT_THAT(outcomes_, ElementsAre("a: exit code 0"));
}

// What comes of one list may be the beginning of the next, in the middle of a tick.
TEST_F(ReplaceTest, AProcessIsAddedWhileAnotherSettles) {
  Serve({"a", "b", "c", "d", "e", "f", "g"});
  Change("a");
  Change("new", Kind::kAdd);
  NextReady("a");
  Advance(kSettle);
  ExpectTold("new", {"start 1"});
}

TEST_F(ReplaceTest, ARestartIsOfWhatRunsWhenItsTurnComes) {
  Serve({"a"});
  Change("a");
  int made = 0;
  ProcessSpec other = Spec("a");
  other.make = [&, make = other.make](uint32_t number) {
    ++made;
    return make(number);
  };
  ASSERT_TRUE(supervisor_->BeginChanges({{Kind::kReplace, other}}, {}, nullptr));
  ASSERT_TRUE(supervisor_->BeginChanges({{Kind::kReplace, {.name = "a"}}}, {}, nullptr));
  for (int i = 0; i < 3; ++i) {
    NextReady("a");
    Advance(kSettle);
  }
  EXPECT_EQ(made, 2);
}

TEST_F(ReplaceTest, OneThatWaitsToBeStartedAgainDoesNotWaitAnyLonger) {
  Serve({"a"});
  Crash("a", SIGSEGV);
  ExpectPhase("a", Phase::kWaiting);
  process("a").TakeTold();
  Change("a");
  ExpectTold("a", {"start 2"});
  NextReady("a");
  ExpectTold("a", {"accept"});
  EXPECT_THAT(outcomes_, ElementsAre("a: 2"));
}

TEST_F(ReplaceTest, OneProcessAtATimeAndNoneAfterAFailure) {
  Serve({"a", "b", "c"});
  Changes({"a", "b", "c"});
  ExpectTold("a", {"start 2"});
  ExpectTold("b", {});
  NextReady("a");
  Advance(kSettle);
  ExpectTold("b", {"start 2"});
  NextExits("b", {.code = 70});
  ExpectTold("c", {});
  EXPECT_THAT(outcomes_, ElementsAre("a: 2", "b: exit code 70"));
  EXPECT_EQ(over_, 1);
}

TEST_F(ReplaceTest, AListWaitsForTheOneBefore) {
  Serve({"a", "b"});
  Change("a");
  Change("b");
  ExpectTold("b", {});
  NextReady("a");
  Advance(kSettle);
  EXPECT_EQ(over_, 1);
  ExpectTold("b", {"start 2"});
  NextReady("b");
  Advance(kSettle);
  EXPECT_EQ(over_, 2);
  EXPECT_FALSE(supervisor_->changing());
}

TEST_F(ReplaceTest, MoreRetiredOnesThanMayBeKeptAreHurried) {
  Serve({"a"});
  for (int i = 0; i < 3; ++i) Replace("a");
  process("a").TakeTold();
  Change("a");
  NextReady("a");
  process("a").TakeTold();
  Advance(kSettle);
  ExpectTold("a", {"stop (1)", "retire (4)"});
  ASSERT_EQ(member("a").retired().size(), 4u);
  // It is killed when it does not go.
  EXPECT_EQ(member("a").retired()[0].until, clock_.Now() + kCancel + 1s);
  Advance(kCancel + 1s);
  ExpectTold("a", {"kill (1)"});
}

TEST_F(ReplaceTest, OneThatIsHurriedAgainGetsNoMoreTime) {
  Serve({"a"});
  for (int i = 0; i < 4; ++i) Replace("a");
  const Instant killed = clock_.Now() + kCancel + 1s;
  Replace("a");
  process("a").TakeTold();
  ASSERT_EQ(member("a").retired().size(), 5u);
  EXPECT_EQ(member("a").retired()[0].until, killed) << "it hangs, and is hurried again";
  EXPECT_EQ(member("a").retired()[1].until, clock_.Now() + kCancel + 1s);
  Advance(killed - clock_.Now());
  ExpectTold("a", {"kill (1)"});
  Advance(kSettle);
  ExpectTold("a", {"kill (2)"});
}

TEST_F(ReplaceTest, AShutdownWins) {
  for (const bool settling : {false, true}) {
    SCOPED_TRACE(settling);
    names_.clear();
    processes_.clear();
    over_ = 0;
    observer_ = {};
    Serve({"a"});
    Change("a");
    if (settling) NextReady("a");
    Change("a");  // one waits
    process("a").TakeTold();
    Signal(SIGTERM);
    // Both serve the delay, each its own addresses.
    ExpectTold("a", settling ? std::vector<std::string>{"accept (1)", "stop (1)", "stop"}
                             : std::vector<std::string>{"stop (1)", "stop"});
    EXPECT_EQ(over_, 2);
    EXPECT_THAT(outcomes_, ElementsAre(HasSubstr("interrupted by shutdown")));
    Stop("a");
    ExpectNotFinished();
    Advance(kDelay);
    process("a").events(Next("a")).Reported(Receipt{.subject = "a"});
    NextExits("a", {});
    ExpectFinished(0);
    EXPECT_EQ(receipt().processes.size(), 2u);
  }
}

TEST_F(ReplaceTest, AShutdownCoversRetiredOnes) {
  Serve({"a"});
  Replace("a");
  process("a").TakeTold();
  Signal(SIGTERM);
  ExpectTold("a", {"stop (1)", "stop"});
  Stop("a");
  ExpectNotFinished();
  process("a").events(1).Reported(Receipt{.subject = "a", .exit_code = 3, .calls_cancelled = 1});
  process("a").events(1).Exited({.code = 3});
  ExpectFinished(kExitCallsCancelled);
  EXPECT_EQ(receipt().calls_cancelled, 1u);
}

TEST_F(ReplaceTest, ARetiredOneThatCrashesIsReportedAndNotStartedAgain) {
  Serve({"a"});
  Replace("a");
  process("a").TakeTold();
  process("a").events(1).Exited({.signal = SIGSEGV});
  ExpectTold("a", {});
  ASSERT_EQ(observer_.retired().size(), 1u);
  EXPECT_EQ(observer_.retired()[0].failure, "killed by SIGSEGV");
}

TEST_F(ReplaceTest, ProcessesComeAndGo) {
  Serve({"a"});
  Change("b", Kind::kAdd);
  ExpectTold("b", {"start 1"});
  Ready("b");
  ExpectTold("b", {"accept"});
  EXPECT_THAT(outcomes_, ElementsAre("b: 1"));
  Change("a", Kind::kRemove);
  ExpectTold("a", {"stop"});
  EXPECT_THAT(outcomes_, ElementsAre("a: 0"));
  process("a").events(1).Exited({});
  EXPECT_EQ(supervisor_->next_instant(), kNever) << "nothing is started again";
  ExpectStage(Stage::kServing);
}

TEST_F(ReplaceTest, OneThatCannotBeAddedLeavesNoTrace) {
  Serve({"a"});
  Change("b", Kind::kAdd);
  StartFailed("b", Code::kInternal, "no");
  Exit("b", 70);
  EXPECT_THAT(outcomes_, ElementsAre("b: no"));
  EXPECT_EQ(supervisor_->next_instant(), kNever);
  ExpectStage(Stage::kServing);
  Change("b", Kind::kAdd);
  EXPECT_EQ(supervisor_->members().size(), 3u);
}

TEST_F(ReplaceTest, DrainingReachesBoth) {
  Serve({"a"});
  Change("a");
  NextReady("a");
  process("a").TakeTold();
  ASSERT_TRUE(supervisor_->SetDraining("a-server", true, {}));
  ExpectTold("a", {"drain a-server (1)", "drain a-server"});
}

TEST_F(ReplaceTest, AChangeThatIsAskedForInTheAnswerToAnotherBeginsOnce) {
  Serve({"a", "b"});
  ASSERT_TRUE(supervisor_->BeginChanges({{Kind::kReplace, Spec("a")}}, {},
                                        [&](const auto&) { Change("b"); }));
  NextReady("a");
  Advance(kSettle);
  ExpectTold("b", {"start 2"});
  NextReady("b");
  Advance(kSettle);
  EXPECT_THAT(outcomes_, ElementsAre("b: 2"));
}

TEST_F(ReplaceTest, RefusedUnlessServing) {
  Start({"a"});
  const auto change = [&] {
    const auto begun = supervisor_->BeginChanges({{Kind::kReplace, Spec("a")}}, {}, nullptr);
    return begun ? "" : begun.error().message;
  };
  EXPECT_EQ(change(), "the daemon is starting");
  Ready("a");
  Signal(SIGTERM);
  EXPECT_EQ(change(), "a shutdown is in progress");
  EXPECT_EQ(supervisor_->BeginChanges({{Kind::kReplace, Spec("x")}}, {}, nullptr).error().code,
            Code::kFailedPrecondition);
}

}  // namespace
}  // namespace lastcall
