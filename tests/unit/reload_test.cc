// Reloads on processes, files and plugins that are what the test says, at every step of theirs.
#include "reload_fixture.h"

#include <array>

namespace lastcall {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

TEST_F(ReloadTest, ReplacesWhatHasChangedAndNothingElse) {
  Serve({"a", "b"});
  Begin();
  Read(Files({"b"}, {"a"}));
  EXPECT_THAT(readings_.tried, ElementsAre("a"));
  EXPECT_EQ(process("a").TakeTold(), Told{"start 2"});
  EXPECT_EQ(answers_, Names{""});
  EXPECT_EQ(Version("a"), "v1") << "it has not taken effect yet";
  Replaced("a");
  EXPECT_EQ(answers_, Names{"~process a; a: 2"});
  EXPECT_EQ(Version("a"), "v2");
  EXPECT_THAT(process("b").TakeTold(), IsEmpty());
  EXPECT_TRUE(reload_->idle());
  EXPECT_EQ(effects_, 1);
}

TEST_F(ReloadTest, WithoutWaitingTheAnswerIsWhatWillChange) {
  Serve({"a"});
  Begin(false);
  Read(Files({}, {"a"}));
  EXPECT_EQ(answers_, Names{"~process a;"});
  Replaced("a");
}

TEST_F(ReloadTest, ThoseWhoAskMeanwhileGetTheNextOneTogether) {
  Serve({"a"});
  Begin();
  Begin();
  Begin();
  EXPECT_EQ(readings_.TakeBegun(), Names{"look"});
  Read(Files({"a"}, {}));
  EXPECT_EQ(answers_, (Names{"done", "", ""}));
  Run();
  EXPECT_EQ(readings_.look.size(), 1u);
  Read(Files({}, {"a"}));
  Replaced("a");
  EXPECT_EQ(answers_, (Names{"done", "~process a; a: 2", "~process a; a: 2"}));
  Run();
  EXPECT_TRUE(reload_->idle());
}

TEST_F(ReloadTest, OneThatWaitsBehindARefusedOneGetsItsOwnAnswer) {
  Serve({"a"});
  Begin();
  Begin();
  readings_.look.Answer(Fail(Code::kAborted, "the disk does not answer"));
  EXPECT_EQ(answers_, (Names{"the disk does not answer", ""}));
  Run();
  Read(Files({"a"}, {}));
  EXPECT_EQ(answers_, (Names{"the disk does not answer", "done"}));
}

TEST_F(ReloadTest, TheSecondOfTwoFailsAndTheNextReloadTakesItUpAgain) {
  Serve({"a", "b"});
  Begin();
  Read(Files({}, {"a", "b"}));
  Replaced("a");
  process("b").events().StartFailed(Error{Code::kInternal, "no such table"});
  process("b").events().Exited({.code = 1});
  EXPECT_EQ(answers_, Names{"~process a;~process b; a: 2 b: no such table"});
  EXPECT_EQ(Version("a"), "v2");
  EXPECT_EQ(Version("b"), "v1");
  EXPECT_TRUE(log_.Said(LogLevel::kError, "b: no such table; it and what comes after it remain"));

  Begin();
  Read(Files({}, {"a", "b"}));
  EXPECT_THAT(readings_.tried, ElementsAre("b"));
  Replaced("b");
  EXPECT_EQ(answers_[1], "~process b; b: 3");
}

TEST_F(ReloadTest, AProcessThatIsGoneDropsItsSocket) {
  Serve({"a", "b"});
  const auto socket = setup_.sockets.at("b-server")[0].listener;
  Begin();
  Read(Files({"a"}, {}));
  EXPECT_EQ(answers_, Names{"-process b; b: 0"});
  EXPECT_THAT(dropped_, ElementsAre(socket));
  EXPECT_FALSE(setup_.sockets.contains("b-server"));
}

TEST_F(ReloadTest, AProcessThatIsNewAcceptsOnASocketOfItsOwn) {
  Serve({"a"});
  Begin();
  Read(Files({"a"}, {"c"}));
  ASSERT_NE(reload_->candidate(), nullptr);
  EXPECT_TRUE(reload_->candidate()->sockets.contains("c-server"));
  EXPECT_EQ(process("c").TakeTold(), Told{"start 1"});
  process("c").events().Ready();
  EXPECT_EQ(answers_, Names{"+process c; c: 1"});
  EXPECT_TRUE(setup_.sockets.contains("c-server"));
  EXPECT_THAT(dropped_, IsEmpty());
}

TEST_F(ReloadTest, WhatConcernsTheDaemonAloneTakesEffectForTheNextShutdown) {
  Serve({"a"});
  Prepared files = Files({"a"}, {});
  files.config.shutdown.grace = 77s;
  Begin();
  Read(std::move(files));
  EXPECT_EQ(answers_, Names{"~shutdown;"});
  EXPECT_EQ(setup_.config.shutdown.grace, Duration(77s));
}

// Each failure: what is said, and that nothing has changed.
class ReloadFailsTest : public ReloadTest {
 protected:
  void SetUp() override {
    Serve({"a"});
    Begin();
  }
  void ExpectRefused(const std::string& why) {
    ASSERT_EQ(answers_.size(), 1u);
    EXPECT_THAT(answers_[0], HasSubstr(why));
    EXPECT_TRUE(log_.Said(LogLevel::kError, "reload refused, nothing has changed: "));
    EXPECT_TRUE(reload_->idle());
    EXPECT_EQ(reload_->candidate(), nullptr);
    EXPECT_EQ(effects_, 0);
    EXPECT_EQ(changing_, 0);
    EXPECT_EQ(Version("a"), "v1");
    EXPECT_THAT(process("a").TakeTold(), IsEmpty());
    ASSERT_TRUE(reload_->last());
    EXPECT_THAT(reload_->last()->refusal, HasSubstr(why));
    // And it can be asked again.
    Begin();
    Read(Files({"a"}, {}));
    EXPECT_EQ(answers_[1], "done");
  }
};

TEST_F(ReloadFailsTest, ItsOwnProgramCannotBeRead) {
  readings_.look.Answer(Fail(Code::kFailedPrecondition, "others could have put it there"));
  ExpectRefused("others could have put it there");
}

TEST_F(ReloadFailsTest, TheFilesDoNotAnswerInTime) {
  readings_.look.Answer(Readings::AnotherBuild());
  readings_.prepare.Answer(Fail(Code::kAborted, "reading the configuration has not returned"));
  ExpectRefused("reading the configuration has not returned");
}

TEST_F(ReloadFailsTest, TheConfigurationHasMistakes) {
  readings_.look.Answer(Readings::AnotherBuild());
  Prepared bad;
  bad.problems = {{{"x.toml", 3, 0}, "unknown key"}, {{"x.toml", 9, 0}, "no such file"}};
  readings_.prepare.Answer(std::move(bad));
  ExpectRefused("x.toml:9: no such file");
}

TEST_F(ReloadFailsTest, TheAdminSocketWouldBeAnother) {
  readings_.look.Answer(Readings::AnotherBuild());
  Prepared moved = Files({"a"}, {});
  moved.config.admin_socket = "/run/elsewhere.sock";
  readings_.prepare.Answer(std::move(moved));
  ExpectRefused("would be /run/elsewhere.sock");
}

TEST_F(ReloadFailsTest, APluginMayNotBeUsed) {
  readings_.look.Answer(Readings::AnotherBuild());
  readings_.prepare.Answer(Files({}, {"a"}));
  readings_.preflight.Answer(PreflightReport{.problems = {{{"x.toml", 7, 0}, "echo aborts"}}});
  ExpectRefused("echo aborts");
}

TEST_F(ReloadFailsTest, AnAddressIsTaken) {
  readings_.look.Answer(Readings::AnotherBuild());
  const auto taken = Listener::Bind(Socket("c"));
  ASSERT_TRUE(taken);
  readings_.prepare.Answer(Files({"a"}, {"c"}));
  readings_.preflight.Answer(PreflightReport());
  ExpectRefused("c-server");
}

TEST_F(ReloadTest, PluginsThatCannotBeTriedAreSaidAndStartedAllTheSame) {
  Serve({"a"});
  Begin();
  readings_.look.Answer(Readings::AnotherBuild());
  readings_.prepare.Answer(Files({}, {"a"}));
  readings_.preflight.Answer(
      PreflightReport{.warnings = {"old"}, .failures = {"lastcall-host is away"}});
  EXPECT_TRUE(log_.Said(LogLevel::kWarning, "could not be tried: lastcall-host is away"));
  EXPECT_TRUE(log_.Said(LogLevel::kWarning, "old"));
  Replaced("a");
  EXPECT_EQ(Version("a"), "v2");
}

TEST_F(ReloadTest, AProgramThatIsGoneFromTheDiskIsNoReasonToRefuse) {
  Serve({"a"});
  Begin();
  readings_.look.Answer(Fail(Code::kNotFound, "lastcalld is not there"));
  readings_.prepare.Answer(Files({"a"}, {}));
  readings_.preflight.Answer(PreflightReport());
  EXPECT_EQ(answers_, Names{"done"});
  EXPECT_TRUE(log_.Said(LogLevel::kWarning, "the running build goes on"));
}

TEST_F(ReloadTest, APipeCannotBeReadAgain) {
  Serve({"a"});
  setup_.config.from_pipe = true;
  Begin();
  EXPECT_THAT(answers_[0], HasSubstr("came through a pipe"));
  EXPECT_THAT(readings_.TakeBegun(), IsEmpty());
}

TEST_F(ReloadTest, HostNamesAreLookedUpBesideTheLoop) {
  Serve({"a"});
  Prepared files = Files({"a"}, {"c"});
  files.config.servers.back().listen = {
      {.kind = Address::Kind::kTcp, .host = "db.example", .text = "db.example:0"}};
  Begin();
  readings_.look.Answer(Readings::AnotherBuild());
  readings_.prepare.Answer(std::move(files));
  EXPECT_THAT(readings_.asked_hosts, ElementsAre("db.example"));
  readings_.names.Answer(HostNames{{"db.example", std::vector<std::string>{"127.0.0.1"}}});
  readings_.preflight.Answer(PreflightReport());
  process("c").events().Ready();
  EXPECT_EQ(answers_, Names{"+process c; c: 1"});
}

// A shutdown at every step: whoever waits is told, once; nothing is begun any more.
TEST_F(ReloadTest, AShutdownWinsAtEveryStep) {
  constexpr std::array kSteps{"look", "prepare", "names", "preflight", "successor", "settling"};
  for (size_t step = 0; step < kSteps.size(); ++step) {
    SCOPED_TRACE(kSteps[step]);
    TearDownAll();
    Serve({"a", "b"});
    Prepared files = Files({"b"}, {"a"});
    files.config.servers[1].listen.push_back(
        {.kind = Address::Kind::kTcp, .host = "db.example", .text = "db.example:0"});
    Begin();
    Begin();
    if (step > 0) readings_.look.Answer(Readings::AnotherBuild());
    if (step > 1) readings_.prepare.Answer(std::move(files));
    if (step > 2) {
      readings_.names.Answer(HostNames{{"db.example", std::vector<std::string>{"127.0.0.1"}}});
    }
    if (step > 3) readings_.preflight.Answer(PreflightReport());
    if (step > 4) process("a").events().Ready();
    process("a").TakeTold();
    readings_.TakeBegun();
    Shutdown();
    ASSERT_EQ(answers_.size(), 2u);
    EXPECT_THAT(answers_[0], HasSubstr("shutdown"));
    EXPECT_THAT(answers_[1], HasSubstr("a shutdown is in progress"));
    EXPECT_EQ(Version("a"), "v1");
    EXPECT_THAT(readings_.TakeBegun(), IsEmpty());
    for (const std::string& told : process("a").TakeTold()) {
      EXPECT_THAT(told, testing::Not(HasSubstr("start")));
    }
    Begin();
    EXPECT_THAT(answers_[2], HasSubstr("a shutdown is in progress"));
  }
}

TEST_F(ReloadTest, ADryRunTellsWhatWouldChangeAndChangesNothing) {
  Serve({"a"});
  reload_->BeginDryRun(Answered());
  Read(Files({}, {"a", "c"}));
  EXPECT_EQ(answers_, Names{"~process a;+process c;"});
  EXPECT_TRUE(reload_->idle());
  EXPECT_FALSE(std::filesystem::exists(folder_ / "c"));
  EXPECT_THAT(process("a").TakeTold(), IsEmpty());
  EXPECT_FALSE(reload_->last());
}

// It may be a configuration of thousands of servers.
TEST_F(ReloadTest, WhatIsOfNoUseAnyMoreIsDestroyedBesideTheLoop) {
  Serve({"a"});
  reload_->BeginDryRun(Answered());
  Read(Files({}, {"a"}));
  EXPECT_EQ(readings_.discarded.size(), 1u);  // the candidate
  Begin();
  Read(Files({}, {"a"}));
  Replaced("a");
  EXPECT_EQ(readings_.discarded.size(), 3u);  // what ran, and what was compared with it
  Begin();
  readings_.look.Answer(Readings::AnotherBuild());
  readings_.prepare.Answer(Files({}, {"a", "b"}));
  readings_.preflight.Answer(PreflightReport{.problems = {{}}, .warnings = {}, .failures = {}});
  EXPECT_EQ(readings_.discarded.size(), 4u);  // what was refused
}

TEST_F(ReloadTest, ADryRunSaysThatThereIsAnotherBuild) {
  Serve({"a"});
  reload_->BeginDryRun(Answered());
  readings_.look.Answer(Readings::AnotherBuild(UniqueFd(dup(0))));
  readings_.prepare.Answer(Files({"a"}, {}));
  readings_.preflight.Answer(PreflightReport());
  EXPECT_EQ(answers_, Names{"another build;"});
  EXPECT_EQ(handovers_, 0);
}

TEST_F(ReloadTest, ADryRunFindsAnAddressThatIsTaken) {
  Serve({"a"});
  const auto taken = Listener::Bind(Socket("c"));
  reload_->BeginDryRun(Answered());
  readings_.look.Answer(Readings::AnotherBuild());
  readings_.prepare.Answer(Files({"a"}, {"c"}));
  EXPECT_THAT(answers_[0], HasSubstr("c-server"));
}

TEST_F(ReloadTest, ARestartLearnsWhatIsInTheFilesNow) {
  Serve({"a"});
  reload_->BeginRestart("a", true, kBy, Answered());
  readings_.fingerprints.Answer(Fingerprints{{"a", {{"plugin", "v2"}}}});
  Replaced("a");
  EXPECT_EQ(answers_, Names{" a: 2"});
  EXPECT_EQ(Version("a"), "v2");
}

TEST_F(ReloadTest, ARestartThatFailsLeavesWhatIsKnown) {
  Serve({"a"});
  reload_->BeginRestart("a", true, kBy, Answered());
  readings_.fingerprints.Answer(Fingerprints{{"a", {{"plugin", "v2"}}}});
  process("a").events().Exited({.code = 1});
  EXPECT_EQ(answers_, Names{" a: exit code 1"});
  EXPECT_EQ(Version("a"), "v1");
}

TEST_F(ReloadTest, ARestartDuringAReloadBelievesTheReload) {
  Serve({"a"});
  Begin();
  Read(Files({}, {"a"}));
  reload_->BeginRestart("a", true, kBy, Answered());
  readings_.fingerprints.Answer(Fingerprints{{"a", {{"plugin", "v3"}}}});
  Replaced("a");
  Replaced("a");
  EXPECT_EQ(answers_, (Names{"~process a; a: 2", " a: 3"}));
  EXPECT_EQ(Version("a"), "v2");
}

TEST_F(ReloadTest, ARestartHappensAlsoWhereNothingCanBeRead) {
  Serve({"a"});
  reload_->BeginRestart("a", false, kBy, Answered());
  readings_.fingerprints.Answer(Fail(Code::kAborted, "the disk does not answer"));
  EXPECT_EQ(answers_, Names{"done"});
  EXPECT_EQ(process("a").TakeTold(), Told{"start 2"});
}

TEST_F(ReloadTest, ARestartOfNobodyNamesThoseWhoAreThere) {
  Serve({"alpha", "b"});
  reload_->BeginRestart("alpa", true, kBy, Answered());
  EXPECT_THAT(answers_[0], HasSubstr("no process \"alpa\""));
  EXPECT_THAT(answers_[0], HasSubstr("alpha"));
}

// The way to another build.
class ReloadHandoverTest : public ReloadTest {
 protected:
  void SetUp() override {
    Serve({"a"});
    Begin();
    readings_.look.Answer(Readings::AnotherBuild(UniqueFd(dup(0))));
    ASSERT_EQ(handovers_, 1);
  }
};

TEST_F(ReloadHandoverTest, WhileItIsCheckedTheNextReloadWaitsAndARestartIsRefused) {
  Begin();
  reload_->BeginRestart("a", true, kBy, Answered());
  EXPECT_EQ(answers_[1], "");
  EXPECT_THAT(answers_[2], HasSubstr("is being replaced by another build; ask again"));
  EXPECT_FALSE(reload_->idle());
}

TEST_F(ReloadHandoverTest, OneThatFailsItsCheckIsARefusal) {
  Begin();
  reload_->HandoverFailed(Error{Code::kAborted, "it does not start"});
  EXPECT_EQ(answers_, (Names{"it does not start", ""}));
  EXPECT_EQ(reload_->last()->refusal, "it does not start");
  Run();
  Read(Files({"a"}, {}));
  EXPECT_EQ(answers_[1], "done");
}

TEST_F(ReloadHandoverTest, EverybodyIsSentOn) {
  Begin();
  reload_->SendOn(7);
  Begin();
  EXPECT_EQ(answers_, (Names{"continues 7", "continues 7", "continues 7"}));
  reload_->BeginDryRun(Answered());
  EXPECT_THAT(answers_[3], HasSubstr("ask again in a moment"));
  EXPECT_FALSE(reload_->CheckStays());
  // It came back.
  reload_->HandoverFailed(Error{Code::kAborted, "no memory"});
  EXPECT_TRUE(reload_->idle());
  Begin();
  Read(Files({"a"}, {}));
  EXPECT_EQ(answers_[4], "done");
}

TEST_F(ReloadTest, TheNoteLeavesOutWhatIsAsItWas) {
  Serve({"a", "b"});
  Begin();
  Read(Files({"b"}, {"a"}));
  Replaced("a");
  ASSERT_TRUE(reload_->last());
  EXPECT_EQ(reload_->last()->report.changes.size(), 1u);
  EXPECT_EQ(reload_->last()->by.who, "alice");
}

}  // namespace
}  // namespace lastcall
