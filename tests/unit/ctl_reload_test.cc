// lastcallctl reload and restart against a fake daemon: what they ask, and what they show of a refusal.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "ctl_verbs_fixture.h"

namespace lastcall {
namespace {

using admin::v1::ConfigChange;
using testing::ElementsAre;
using testing::IsEmpty;

// More than a status could carry.
std::string ManyMistakes() {
  std::string text;
  for (int i = 1; i <= 1000; ++i) {
    text += (text.empty() ? "" : "\n") + ("lastcalld.toml:" + std::to_string(i)) +
            ": there is no such key; did you mean another one?";
  }
  return text;
}

// As it is printed.
std::string Shown(const std::string& mistakes) {
  std::string text = "lastcallctl: ";
  for (const char each : mistakes) text += each == '\n' ? "\nlastcallctl: " : std::string(1, each);
  return text + "\n";
}

TEST_F(VerbsTest, ReloadShowsARefusalOfAnyLengthWhole) {
  StartDaemon().error = {Code::kInvalidArgument, ManyMistakes()};
  for (const char* form : {"--wait", "--no-wait", "--dry-run", "--json"}) {
    EXPECT_EQ(Run({"reload", form}), kExitFailed) << form << ": the file is at fault";
    EXPECT_EQ(err(), Shown(ManyMistakes())) << form;
    EXPECT_THAT(out(), IsEmpty());
  }
}

TEST_F(VerbsTest, RestartShowsARefusalOfAnyLengthWhole) {
  StartDaemon().error = {Code::kFailedPrecondition, ManyMistakes()};
  EXPECT_EQ(Run({"restart", "main"}), kExitRefused);
  EXPECT_EQ(err(), Shown(ManyMistakes()));
  EXPECT_THAT(out(), IsEmpty());
}

TEST_F(VerbsTest, ReloadAndRestartSayWhatWasAskedFor) {
  FakeAdmin& daemon = StartDaemon();
  EXPECT_EQ(Run({"reload", "--reason", "new prices"}), kExitDone);
  EXPECT_TRUE(daemon.reload_request().wait());
  EXPECT_FALSE(daemon.reload_request().dry_run());
  EXPECT_EQ(daemon.reload_request().reason(), "new prices");
  EXPECT_EQ(out(), "nothing has changed\n");
  EXPECT_EQ(Run({"reload", "--dry-run"}), kExitDone);
  EXPECT_TRUE(daemon.reload_request().dry_run());
  EXPECT_EQ(out(), "nothing would change\n");
  EXPECT_EQ(Run({"restart", "main", "--no-wait", "--reason", "leaks"}), kExitDone);
  EXPECT_EQ(daemon.restart_request().process(), "main");
  EXPECT_EQ(daemon.restart_request().reason(), "leaks");
  EXPECT_FALSE(daemon.restart_request().wait());
  EXPECT_THAT(daemon.asked(), ElementsAre("Reload", "Reload", "Restart"));
}

TEST_F(VerbsTest, RestartThatFailedForAProcessFails) {
  admin::v1::ProcessOutcome& outcome = *StartDaemon().restart_response.add_processes();
  outcome.set_process("main");
  EXPECT_EQ(Run({"restart", "main"}), kExitDone);
  outcome.set_failure("exit code 70");
  EXPECT_EQ(Run({"restart", "main"}), kExitFailed);
  EXPECT_EQ(out(), "process main: not changed: exit code 70\n");
}

TEST_F(VerbsTest, ReloadAndRestartEndWithTheCodeOfTheRefusal) {
  FakeAdmin& daemon = StartDaemon();
  for (const auto& [code, exit_code] :
       {std::pair{Code::kInvalidArgument, kExitFailed}, std::pair{Code::kNotFound, kExitNoSuchName},
        std::pair{Code::kPermissionDenied, kExitDenied},
        std::pair{Code::kFailedPrecondition, kExitRefused},
        std::pair{Code::kAborted, kExitFailed}}) {
    daemon.error = {code, "because"};
    for (const std::vector<const char*>& verb :
         {std::vector<const char*>{"reload"}, {"restart", "main"}}) {
      EXPECT_EQ(Run(verb), exit_code) << verb.front() << " " << static_cast<int>(code);
      EXPECT_EQ(err(), "lastcallctl: because\n");
    }
  }
}

}  // namespace
}  // namespace lastcall
