// Processes that say they are frozen: reported, or replaced as often as is allowed, and never at a wrong time.
#include "supervisor_fixture.h"

namespace lastcall {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;

class FrozenTest : public SupervisorTest {
 protected:
  static constexpr Duration kSettle = 2s;
  static constexpr char kWhy[] = "2 of 2 callback threads are held";

  void ServeFrozen(FrozenPolicy policy) {
    policy_ = policy;
    names_ = {"a", "b"};
    std::vector<ProcessSpec> specs;
    for (const std::string& name : names_) {
      processes_.push_back(std::make_unique<FakeProcess>());
      specs.push_back(FrozenSpec(name, policy));
    }
    supervisor_ =
        std::make_unique<Supervisor>(Supervisor::Options{.shutdown = budget_, .ready = kReady},
                                     std::move(specs), clock_, observer_, log_.log());
    supervisor_->Start();
    for (const std::string& name : names_) Ready(name);
    for (const std::string& name : names_) process(name).TakeTold();
  }
  ProcessSpec FrozenSpec(const std::string& name, FrozenPolicy policy) {
    ProcessSpec spec = Spec(name);
    spec.frozen = policy;
    return spec;
  }
  void Freeze(const std::string& name) { Events(name).Frozen(kWhy); }
  void Thaw(const std::string& name) { Events(name).Frozen(""); }
  void NextReady(const std::string& name) {
    process(name).events(member(name).successor()->number).Ready();
  }
  void NextExits(const std::string& name) {
    process(name).events(member(name).successor()->number).Exited({.code = 1});
  }
  // The successor settles, and the frozen one ends.
  void Succeed(const std::string& name) {
    const uint32_t old = Current(name);
    NextReady(name);
    Advance(kSettle);
    process(name).events(old).Exited({.code = 4});
    process(name).TakeTold();
  }
  void Replace(const std::string& name) {
    (void)supervisor_->BeginChanges({{Supervisor::Change::Kind::kReplace, {.name = name}}},
                                    {.kind = Cause::Kind::kAdmin, .who = "test"}, nullptr);
  }
  int CountSaid(const std::string& words) const {
    int count = 0;
    for (const auto& line : log_.lines()) count += line.text.find(words) != std::string::npos;
    return count;
  }

  FrozenPolicy policy_ = FrozenPolicy::kReport;
};

TEST_F(FrozenTest, OneThatIsOnlyReportedIsLeftAsItIs) {
  ServeFrozen(FrozenPolicy::kReport);
  Freeze("a");
  Advance(1h);
  ExpectTold("a", {});
  ExpectPhase("a", Phase::kRunning);
  EXPECT_EQ(member("a").current().frozen, kWhy);
  EXPECT_TRUE(log_.Said(LogLevel::kWarning,
                        "process a is frozen: 2 of 2 callback threads are held; \"lastcallctl "
                        "restart a\" replaces it, and with frozen = \"replace\" in [process.a] "
                        "lastcalld would"));
  Thaw("a");
  EXPECT_EQ(member("a").current().frozen, "");
  EXPECT_TRUE(log_.Said(LogLevel::kInfo, "process a is frozen no more"));
}

TEST_F(FrozenTest, WhatIsToldAgainIsSaidOnce) {
  ServeFrozen(FrozenPolicy::kReport);
  Freeze("a");
  const int changes = observer_.changes();
  Freeze("a");
  Events("a").Frozen("another reason");
  EXPECT_EQ(CountSaid("is frozen"), 1);
  EXPECT_EQ(observer_.changes(), changes);
}

TEST_F(FrozenTest, ASuccessorTakesOverAndTheFrozenOneHasLittleTime) {
  ServeFrozen(FrozenPolicy::kReplace);
  Freeze("a");
  Advance(BackOff::kFirst);
  ExpectTold("a", {"start 2"});
  EXPECT_TRUE(log_.Said(LogLevel::kWarning,
                        "process a is frozen: 2 of 2 callback threads are held; replacing it "
                        "(frozen = \"replace\")"));
  NextReady("a");
  ExpectTold("a", {"accept", "pause (1)"});
  Advance(kSettle);
  ExpectTold("a", {"retire (1)"});
  EXPECT_EQ(process("a").plan().cancel, clock_.Now() + FrozenLimit::kGrace);
  EXPECT_EQ(process("a").plan().end, clock_.Now() + FrozenLimit::kGrace + kCancel);
  EXPECT_EQ(member("a").retired().at(0).replaced_by, "supervisor lastcalld: it was frozen");
  // It says nothing any more.
  Advance(FrozenLimit::kGrace + kCancel + 1s);
  ExpectTold("a", {"kill (1)"});
  EXPECT_EQ(Current("a"), 2u);
  ExpectTold("b", {});
}

TEST_F(FrozenTest, OneThatThawsInTimeIsNotReplaced) {
  ServeFrozen(FrozenPolicy::kReplace);
  Freeze("a");
  Thaw("a");
  EXPECT_EQ(supervisor_->next_instant(), kNever);
  Advance(1h);
  ExpectTold("a", {});
}

TEST_F(FrozenTest, BackOffGrowsWhereSuccessorsFreezeAtOnce) {
  ServeFrozen(FrozenPolicy::kReplace);
  Freeze("a");
  Advance(BackOff::kFirst);
  Succeed("a");
  Freeze("a");
  Advance(2 * BackOff::kFirst - 1ms);
  ExpectTold("a", {});
  Advance(1ms);
  ExpectTold("a", {"start 3"});
}

TEST_F(FrozenTest, NoMoreReplacementsThanTheLimitAllowsAndThatIsSaidOnce) {
  ServeFrozen(FrozenPolicy::kReplace);
  const Instant first = clock_.Now() + BackOff::kFirst;
  for (size_t i = 0; i < FrozenLimit::kMost; ++i) {
    Freeze("a");
    Advance(10s);
    Succeed("a");
  }
  const uint32_t number = Current("a");
  EXPECT_EQ(number, 1 + FrozenLimit::kMost);
  Freeze("a");
  EXPECT_TRUE(log_.Said(LogLevel::kError, "it was replaced for that 3 times within 10m"));
  Advance(first + FrozenLimit::kWithin - clock_.Now() - 1ms);
  ExpectTold("a", {});
  EXPECT_EQ(CountSaid("3 times within"), 1);
  EXPECT_EQ(CountSaid("replacing it"), static_cast<int>(FrozenLimit::kMost));
  // It is frozen still when there may be another.
  Advance(1ms);
  ExpectTold("a", {"start " + std::to_string(number + 1)});
}

TEST_F(FrozenTest, TheLimitOfOneProcessIsNotAnothers) {
  ServeFrozen(FrozenPolicy::kReplace);
  for (size_t i = 0; i < FrozenLimit::kMost; ++i) {
    Freeze("a");
    Advance(10s);
    Succeed("a");
  }
  Freeze("b");
  Advance(BackOff::kFirst);
  ExpectTold("b", {"start 2"});
}

TEST_F(FrozenTest, ASuccessorThatDoesNotStartIsFollowedByAnotherUpToTheLimit) {
  ServeFrozen(FrozenPolicy::kReplace);
  Freeze("a");
  for (size_t i = 0; i < FrozenLimit::kMost; ++i) {
    Advance(10s);
    ASSERT_TRUE(member("a").successor()) << i;
    NextExits("a");
  }
  Advance(10s);
  EXPECT_FALSE(member("a").successor());
  ExpectPhase("a", Phase::kRunning);
  EXPECT_EQ(CountSaid("3 times within"), 1);
}

TEST_F(FrozenTest, NobodyIsReplacedBeforeTheDaemonServes) {
  names_ = {"a", "b"};
  std::vector<ProcessSpec> specs;
  for (const std::string& name : names_) {
    processes_.push_back(std::make_unique<FakeProcess>());
    specs.push_back(FrozenSpec(name, FrozenPolicy::kReplace));
  }
  supervisor_ =
      std::make_unique<Supervisor>(Supervisor::Options{.shutdown = budget_, .ready = kReady},
                                   std::move(specs), clock_, observer_, log_.log());
  supervisor_->Start();
  Ready("a");
  Freeze("a");
  Advance(kReady - 1ms);
  ExpectTold("a", {"start 1"});
}

TEST_F(FrozenTest, AShutdownMeanwhileWins) {
  ServeFrozen(FrozenPolicy::kReplace);
  Freeze("a");
  Signal(SIGTERM);
  Advance(BackOff::kLongest);
  for (const std::string& told : process("a").TakeTold()) EXPECT_FALSE(told.starts_with("start"));
  EXPECT_EQ(CountSaid("replacing it"), 0);
}

TEST_F(FrozenTest, AShutdownWhileItIsReplacedWins) {
  ServeFrozen(FrozenPolicy::kReplace);
  Freeze("a");
  Advance(BackOff::kFirst);
  Signal(SIGTERM);
  ExpectTold("a", {"start 2", "stop (1)", "stop"});
  Freeze("a");
  Advance(kDelay);
  EXPECT_EQ(CountSaid("replacing it"), 1);
}

TEST_F(FrozenTest, WhatFreezesDuringAShutdownIsNotReplaced) {
  ServeFrozen(FrozenPolicy::kReplace);
  Signal(SIGTERM);
  process("a").TakeTold();
  Freeze("a");
  Advance(kDelay);
  ExpectTold("a", {});
}

// A reload is a list of changes.
TEST_F(FrozenTest, AChangeThatIsInProgressIsWaitedFor) {
  ServeFrozen(FrozenPolicy::kReplace);
  Replace("b");
  Freeze("a");
  Advance(BackOff::kFirst);
  ExpectTold("a", {});
  Succeed("b");
  ExpectTold("a", {"start 2"});
}

TEST_F(FrozenTest, OneThatAReloadReplacesMeanwhileIsReplacedOnce) {
  ServeFrozen(FrozenPolicy::kReplace);
  Replace("b");
  Replace("a");
  Freeze("a");
  Advance(BackOff::kFirst);
  Succeed("b");
  ExpectTold("a", {"start 2"});
  Succeed("a");
  Advance(1min);
  ExpectTold("a", {});
  EXPECT_EQ(Current("a"), 2u);
  EXPECT_FALSE(supervisor_->changing());
}

TEST_F(FrozenTest, OneThatThawsWhileOthersChangeIsNotReplaced) {
  ServeFrozen(FrozenPolicy::kReplace);
  Replace("b");
  Freeze("a");
  Advance(BackOff::kFirst);
  Thaw("a");
  Succeed("b");
  ExpectTold("a", {});
  EXPECT_FALSE(supervisor_->changing());
}

TEST_F(FrozenTest, OneThatIsBeingReplacedAnywayIsDoneWithSooner) {
  ServeFrozen(FrozenPolicy::kReplace);
  Replace("a");
  Freeze("a");
  EXPECT_TRUE(log_.Said(LogLevel::kWarning, "its end has begun"));
  NextReady("a");
  Advance(kSettle);
  EXPECT_EQ(process("a").plan().cancel, clock_.Now() + FrozenLimit::kGrace);
  EXPECT_EQ(CountSaid("replacing it"), 0);
}

TEST_F(FrozenTest, WhereItIsOnlyReportedARestartLeavesItsCallsTheirTime) {
  ServeFrozen(FrozenPolicy::kReport);
  Freeze("a");
  Replace("a");
  NextReady("a");
  Advance(kSettle);
  EXPECT_EQ(process("a").plan().cancel, clock_.Now() + supervisor_->options().retire);
}

TEST_F(FrozenTest, ASuccessorThatFreezesWhileItSettlesIsReplacedNext) {
  ServeFrozen(FrozenPolicy::kReplace);
  Replace("a");
  NextReady("a");
  process("a").events(2).Frozen(kWhy);
  Advance(kSettle);
  EXPECT_EQ(Current("a"), 2u);
  process("a").TakeTold();
  Advance(BackOff::kFirst);
  ExpectTold("a", {"start 3"});
}

TEST_F(FrozenTest, APolicyThatIsChangedCountsForWhatIsFrozenAlready) {
  ServeFrozen(FrozenPolicy::kReport);
  Freeze("a");
  supervisor_->SetSpec(FrozenSpec("a", FrozenPolicy::kReplace));
  Advance(BackOff::kFirst);
  ExpectTold("a", {"start 2"});

  Freeze("b");
  supervisor_->SetSpec(FrozenSpec("b", FrozenPolicy::kReplace));
  supervisor_->SetSpec(FrozenSpec("b", FrozenPolicy::kReport));
  Succeed("a");
  Advance(1min);
  ExpectTold("b", {});
}

TEST_F(FrozenTest, OneThatDiesOfItselfIsRestartedAndNotReplaced) {
  ServeFrozen(FrozenPolicy::kReplace);
  Freeze("a");
  Crash("a", SIGSEGV);
  Advance(BackOff::kLongest);
  ExpectTold("a", {"start 2"});
  EXPECT_EQ(CountSaid("replacing it"), 0);
  EXPECT_EQ(member("a").current().frozen, "");
}

}  // namespace
}  // namespace lastcall
