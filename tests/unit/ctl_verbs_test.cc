// Every verb against a fake daemon: what it asks, what it prints, its exit code.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "ctl_verbs_fixture.h"

namespace lastcall {
namespace {

using admin::v1::Status;
using testing::AllOf;
using testing::EndsWith;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;

TEST_F(VerbsTest, StatusPrintsForPeopleAndPrograms) {
  StartDaemon();
  EXPECT_EQ(Run({"status"}), kExitDone);
  EXPECT_THAT(out(), HasSubstr("lastcalld 0.1.0, pid 812: serving, up 3h12m"));
  EXPECT_THAT(err(), IsEmpty());
  EXPECT_EQ(Run({"status", "--json"}), kExitDone);
  EXPECT_THAT(out(), AllOf(StartsWith(R"({"api_version":"lastcall/v1","kind":"Status",)"
                                      R"("stage":"serving","pid":812,)"),
                           EndsWith("}\n")));
}

TEST_F(VerbsTest, StatusOfDaemonThatIsNotServing) {
  for (const auto& [number, stage] :
       {std::pair{v1::STAGE_STARTING, "starting"}, std::pair{v1::STAGE_DELAY, "delay"},
        std::pair{v1::STAGE_GRACE, "grace"}, std::pair{v1::STAGE_CANCEL, "cancel"},
        std::pair{v1::STAGE_STOPPED, "stopped"}}) {
    StartDaemon(StoppingStatus(number));
    EXPECT_EQ(Run({"status"}), kExitNotServing) << stage;
    EXPECT_THAT(out(), HasSubstr(stage));
    EXPECT_EQ(Run({"--json", "status"}), kExitNotServing) << stage;
    EXPECT_THAT(out(), HasSubstr(R"("kind":"Status")"));
    EXPECT_THAT(err(), IsEmpty());
  }
}

TEST_F(VerbsTest, EveryCodeHasItsExitCode) {
  const std::vector<std::pair<Code, int>> codes{
      {Code::kCancelled, kExitFailed},
      {Code::kUnknown, kExitFailed},
      {Code::kInvalidArgument, kExitUsage},
      {Code::kDeadlineExceeded, kExitTimedOut},
      {Code::kNotFound, kExitNoSuchName},
      {Code::kAlreadyExists, kExitFailed},
      {Code::kPermissionDenied, kExitDenied},
      {Code::kResourceExhausted, kExitFailed},
      {Code::kFailedPrecondition, kExitRefused},
      {Code::kAborted, kExitFailed},
      {Code::kOutOfRange, kExitFailed},
      {Code::kUnimplemented, kExitFailed},
      {Code::kInternal, kExitFailed},
      {Code::kUnavailable, kExitUnreachable},
      {Code::kDataLoss, kExitFailed},
      {Code::kUnauthenticated, kExitFailed},
  };
  const std::vector<std::vector<const char*>> verbs{{"status"},
                                                    {"servers"},
                                                    {"drain", "public"},
                                                    {"undrain", "public"},
                                                    {"config"},
                                                    {"log-level", "x"},
                                                    {"version"},
                                                    {"shutdown"},
                                                    {"shutdown", "--dry-run"},
                                                    {"calls"},
                                                    {"call", "main/1/1"},
                                                    {"calls", "--watch"},
                                                    {"calls", "--recent"},
                                                    {"cancel", "main/1/1"}};
  FakeAdmin& daemon = StartDaemon();
  for (const auto& [code, exit_code] : codes) {
    daemon.error = daemon.status_error = {code, "because"};
    for (std::vector<const char*> verb : verbs) {
      // A shutdown whose answer is lost is followed to the end all the same: see below.
      if (verb.back() == std::string("shutdown") && code == Code::kUnavailable) continue;
      verb.push_back("--json");
      EXPECT_EQ(Run(verb), exit_code) << verb.front() << " " << static_cast<int>(code);
      EXPECT_THAT(out(), IsEmpty());
      EXPECT_THAT(err(), AllOf(StartsWith("lastcallctl: "), EndsWith("\n")));
    }
  }
}

TEST_F(VerbsTest, RefusalsSayWhatTheDaemonSaid) {
  StartDaemon().error = {Code::kPermissionDenied, "you are not in lastcall-admin"};
  EXPECT_EQ(Run({"drain", "public"}), kExitDenied);
  EXPECT_EQ(err(), "lastcallctl: you are not in lastcall-admin\n");
}

TEST_F(VerbsTest, EachMistakeHasALine) {
  StartDaemon().error = {Code::kInvalidArgument, "a.toml:1: one\na.toml:2: two \x1b[31m\u202e"};
  EXPECT_EQ(Run({"drain", "public"}), kExitUsage);
  EXPECT_EQ(err(), "lastcallctl: a.toml:1: one\nlastcallctl: a.toml:2: two \\x1b[31m\\u202e\n");
}

TEST_F(VerbsTest, ServersAllOrOne) {
  StartDaemon();
  EXPECT_EQ(Run({"servers"}), kExitDone);
  EXPECT_THAT(out(), StartsWith("SERVER "));
  EXPECT_EQ(Run({"servers", "public"}), kExitDone);
  EXPECT_THAT(out(), AllOf(StartsWith("public: serving"), HasSubstr("/shop.Prices/Watch")));
  EXPECT_EQ(Run({"servers", "--json"}), kExitDone);
  EXPECT_THAT(out(), StartsWith(R"({"api_version":"lastcall/v1","kind":"Servers","servers":[)"
                                R"({"name":"public",)"));
  EXPECT_EQ(Run({"servers", "pubilc"}), kExitNoSuchName);
  EXPECT_EQ(err(), "lastcallctl: there is no server \"pubilc\"; did you mean \"public\"?\n");
}

TEST_F(VerbsTest, DrainAndUndrain) {
  FakeAdmin& daemon = StartDaemon();
  daemon.draining_response.set_changed(true);
  EXPECT_EQ(Run({"drain", "public", "--reason", "load test"}), kExitDone);
  EXPECT_EQ(out(),
            "public is draining: its clients are asked to leave, and served until they do\n");
  EXPECT_EQ(daemon.draining_request().server(), "public");
  EXPECT_EQ(daemon.draining_request().reason(), "load test");
  EXPECT_TRUE(daemon.draining_request().draining());
  EXPECT_EQ(Run({"undrain", "public", "--json"}), kExitDone);
  EXPECT_FALSE(daemon.draining_request().draining());
  EXPECT_EQ(out(), R"({"api_version":"lastcall/v1","kind":"Draining","server":"public",)"
                   R"("draining":false,"changed":true})"
                   "\n");
  daemon.draining_response.set_changed(false);
  EXPECT_EQ(Run({"undrain", "public"}), kExitDone);
  EXPECT_EQ(out(), "public is no longer draining (already)\n");
}

TEST_F(VerbsTest, DrainOfUnknownServer) {
  StartDaemon().error = {Code::kNotFound, "no server \"publik\"; there are: public, reports"};
  EXPECT_EQ(Run({"drain", "publik"}), kExitNoSuchName);
  EXPECT_EQ(err(), "lastcallctl: no server \"publik\"; there are: public, reports\n");
}

TEST_F(VerbsTest, Config) {
  FakeAdmin& daemon = StartDaemon();
  daemon.config.set_toml("[shutdown]\ngrace = \"20s\"\n");
  daemon.config.set_json(R"({"shutdown":{"grace":"20s"}})");
  admin::v1::Origin& origin = *daemon.config.add_origins();
  origin.set_key("shutdown.grace");
  origin.set_kind(admin::v1::Origin::KIND_FILE);
  origin.set_file("/etc/l.toml");
  origin.set_line(2);
  admin::v1::Origin& other = *daemon.config.add_origins();
  other.set_key("shutdown.delay");
  other.set_kind(admin::v1::Origin::KIND_DEFAULT);
  EXPECT_EQ(Run({"config"}), kExitDone);
  EXPECT_EQ(out(), "[shutdown]\ngrace = \"20s\"\n");
  EXPECT_EQ(Run({"config", "--json"}), kExitDone);
  EXPECT_EQ(out(), R"({"api_version":"lastcall/v1","kind":"Config",)"
                   R"("config":{"shutdown":{"grace":"20s"}},"origins":{)"
                   R"("shutdown.grace":{"kind":"file","file":"/etc/l.toml","line":2},)"
                   R"("shutdown.delay":{"kind":"default"}}})"
                   "\n");
}

TEST_F(VerbsTest, LogLevel) {
  StartDaemon().log_level_response.set_previous("info");
  EXPECT_EQ(Run({"log-level", "debug"}), kExitDone);
  EXPECT_EQ(out(), "log level debug (was info)\n");
  EXPECT_EQ(Run({"log-level", "debug", "--json"}), kExitDone);
  EXPECT_EQ(out(), R"({"api_version":"lastcall/v1","kind":"LogLevel","level":"debug",)"
                   R"("previous":"info"})"
                   "\n");
}

TEST_F(VerbsTest, Version) {
  StartDaemon().version.set_grpc("1.51.1");
  EXPECT_EQ(Run({"version"}), kExitDone);
  EXPECT_THAT(out(), AllOf(StartsWith("lastcallctl  "), HasSubstr("gRPC         1.51.1\n")));
  EXPECT_EQ(Run({"version", "--json"}), kExitDone);
  EXPECT_THAT(out(), AllOf(StartsWith(R"({"api_version":"lastcall/v1","kind":"Version",)"
                                      R"("lastcallctl":")"),
                           HasSubstr(R"("grpc":"1.51.1")")));
}

// Too many watch already; it can be stopped all the same.
TEST_F(VerbsTest, WaitServingAtOnce) {
  StartDaemon();
  EXPECT_EQ(Run({"wait", "serving"}), kExitDone);
  EXPECT_EQ(out(), "serving, pid 812\n");
  EXPECT_EQ(pauses_, 0);
  EXPECT_EQ(Run({"wait", "serving", "--json"}), kExitDone);
  EXPECT_THAT(out(), HasSubstr(R"("kind":"Status","stage":"serving")"));
}

TEST_F(VerbsTest, WaitServingUntilTheStageIsReached) {
  Status starting = ServingStatus();
  starting.set_stage(v1::STAGE_STARTING);
  StartDaemon().scripts = {{FakeAdmin::Send(starting), FakeAdmin::Send(starting),
                            FakeAdmin::Send(ServingStatus()), FakeAdmin::Hold()}};
  EXPECT_EQ(Run({"wait", "serving"}), kExitDone);
}

TEST_F(VerbsTest, WaitServingUntilDaemonAppears) {
  start_at_pause_ = 7;
  EXPECT_EQ(Run({"wait", "serving", "--timeout", "10s"}), kExitDone);
  EXPECT_EQ(pauses_, 7);
}

TEST_F(VerbsTest, WaitServingOutlivesDaemonThatDies) {
  StartDaemon().scripts = {{FakeAdmin::End(Code::kUnavailable, "Socket closed")},
                           {FakeAdmin::End()},
                           {FakeAdmin::Send(ServingStatus()), FakeAdmin::Hold()}};
  EXPECT_EQ(Run({"wait", "serving"}), kExitDone);
  EXPECT_EQ(pauses_, 2);
}

TEST_F(VerbsTest, WaitServingTimesOut) {
  EXPECT_EQ(Run({"wait", "serving", "--timeout", "1s"}), kExitTimedOut);
  EXPECT_EQ(pauses_, 20);
  EXPECT_EQ(err(), "lastcallctl: lastcalld is not serving yet at " + socket_ + "\n");
}

TEST_F(VerbsTest, WaitServingTimesOutWhileStarting) {
  Status starting = ServingStatus();
  starting.set_stage(v1::STAGE_STARTING);
  StartDaemon(starting);
  EXPECT_EQ(Run({"wait", "serving", "--timeout", "50ms"}), kExitTimedOut);
}

TEST_F(VerbsTest, WaitServingEndsWhenDaemonStopsInstead) {
  Status starting = ServingStatus();
  starting.set_stage(v1::STAGE_STARTING);
  StartDaemon().scripts = {{FakeAdmin::Send(StoppingStatus(v1::STAGE_GRACE)), FakeAdmin::Hold()},
                           {FakeAdmin::Send(starting), FakeAdmin::Send(EventOf(CleanReceipt()))}};
  EXPECT_EQ(Run({"wait", "serving", "--json"}), kExitNotServing);
  EXPECT_THAT(out(), IsEmpty());
  EXPECT_EQ(err(), "lastcallctl: lastcalld is stopping\n");
  EXPECT_EQ(Run({"wait", "serving"}), kExitNotServing);
}

TEST_F(VerbsTest, WaitServingIsDenied) {
  StartDaemon().scripts = {{FakeAdmin::End(Code::kPermissionDenied, "you lack lastcall-view")}};
  EXPECT_EQ(Run({"wait", "serving"}), kExitDenied);
}

TEST_F(VerbsTest, WaitStoppedWithoutDaemon) {
  EXPECT_EQ(Run({"wait", "stopped"}), kExitDone);
  EXPECT_EQ(out(), "stopped\n");
  EXPECT_EQ(Run({"wait", "stopped", "--json"}), kExitDone);
  EXPECT_THAT(out(),
              StartsWith(R"({"api_version":"lastcall/v1","kind":"Status","stage":"stopped")"));
}

TEST_F(VerbsTest, WaitStoppedUntilTheReceipt) {
  StartDaemon().scripts = {{FakeAdmin::Send(ServingStatus()),
                            FakeAdmin::Send(EventOf(ForcedReceipt())), FakeAdmin::End()}};
  EXPECT_EQ(Run({"wait", "stopped"}), kExitDone);
  EXPECT_EQ(out(), "stopped in 25s, 1002 calls cancelled, prices did not return\n");
}

TEST_F(VerbsTest, WaitStoppedFollowsDaemonThatReexecutes) {
  StartDaemon().scripts = {{FakeAdmin::End(Code::kUnavailable, "Socket closed")},
                           {FakeAdmin::Send(EventOf(CleanReceipt())), FakeAdmin::End()}};
  EXPECT_EQ(Run({"wait", "stopped", "--json"}), kExitDone);
  EXPECT_THAT(out(), HasSubstr(R"("from":"daemon")"));
}

TEST_F(VerbsTest, WaitStoppedTimesOut) {
  StartDaemon();
  EXPECT_EQ(Run({"wait", "stopped", "--timeout", "50ms"}), kExitTimedOut);
}

TEST_F(VerbsTest, FrozenDaemonTimesOut) {
  const SilentSocket silent(socket_);
  for (const auto& verb : std::vector<std::vector<const char*>>{
           {"status"}, {"watch"}, {"shutdown"}, {"wait", "serving"}}) {
    std::vector<const char*> arguments = verb;
    arguments.insert(arguments.end(), {"--timeout", "20ms"});
    EXPECT_EQ(Run(arguments), kExitTimedOut) << verb.front();
  }
}

TEST_F(VerbsTest, DaemonThatHangsUpIsUnreachable) {
  const SilentSocket silent(socket_);
  std::thread hang_up([&] {  // again and again, for the same process is asked again
    for (int i = 0; i < 4; ++i) UniqueFd(::accept(silent.fd(), nullptr, nullptr));
  });
  EXPECT_EQ(Run({"status"}), kExitUnreachable);
  EXPECT_THAT(err(), StartsWith("lastcallctl: the connection to lastcalld broke: "));
  hang_up.join();
}

// As one that executes another build of itself does: the process is the same.
TEST_F(VerbsTest, DaemonThatGivesWayIsAskedAgain) {
  for (const auto& verb : std::vector<std::vector<const char*>>{
           {"status"}, {"version"}, {"drain", "public"}, {"config"}, {"shutdown", "--dry-run"}}) {
    const SilentSocket before(socket_);
    std::thread give_way([&] {
      const UniqueFd refused(::accept(before.fd(), nullptr, nullptr));
      unlink(socket_.c_str());
      StartDaemon();
    });
    EXPECT_EQ(Run(verb), kExitDone) << verb.front() << ": " << err();
    give_way.join();
    daemon_.reset();
  }
}

// It says its status once more before it does.
}  // namespace
}  // namespace lastcall
