// lastcallctl shutdown and watch against a fake daemon: they follow it to its receipt, or say why not.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <thread>
#include <vector>

#include "ctl_verbs_fixture.h"

namespace lastcall {
namespace {

using namespace std::chrono_literals;
using testing::AllOf;
using testing::ElementsAre;
using testing::EndsWith;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;

TEST_F(VerbsTest, ShutdownWatchesFirstAndPrintsTheReceipt) {
  FakeAdmin& daemon = StartDaemon();
  daemon.scripts = {{FakeAdmin::Send(ServingStatus()), FakeAdmin::AwaitShutdown(),
                     FakeAdmin::Send(StoppingStatus(v1::STAGE_GRACE)),
                     FakeAdmin::Send(EventOf(CleanReceipt())), FakeAdmin::End()}};
  EXPECT_EQ(Run({"shutdown", "--delay", "0s", "--grace", "1m30s", "--reason", "new kernel"}),
            kExitDone);
  EXPECT_THAT(daemon.asked(), ElementsAre("Watch", "Shutdown"));
  const admin::v1::ShutdownRequest request = daemon.shutdown_request();
  EXPECT_TRUE(request.has_delay_s());
  EXPECT_EQ(request.delay_s(), 0);
  EXPECT_EQ(request.grace_s(), 90);
  EXPECT_FALSE(request.has_cancel_s());
  EXPECT_EQ(request.reason(), "new kernel");
  EXPECT_FALSE(request.dry_run());
  EXPECT_THAT(out(), StartsWith("grace: 18.8s left, 23.8s at most in all; 3 in flight (public 3)\n"
                                "lastcalld: stopped in 6.21s, every call finished\n"));
}

TEST_F(VerbsTest, ShutdownAsJsonIsTheReceiptVerbatim) {
  FakeAdmin& daemon = StartDaemon();
  daemon.scripts = {{FakeAdmin::Send(ServingStatus()), FakeAdmin::AwaitShutdown(),
                     FakeAdmin::Send(StoppingStatus(v1::STAGE_GRACE)),
                     FakeAdmin::Send(EventOf(CleanReceipt())), FakeAdmin::End()}};
  EXPECT_EQ(Run({"--json", "shutdown", "--wait"}), kExitDone);
  EXPECT_EQ(out(), R"({"api_version":"lastcall/v1","kind":"Receipt","from":"daemon"})"
                   "\n");
}

TEST_F(VerbsTest, ShutdownThatCancelledCallsFails) {
  FakeAdmin& daemon = StartDaemon();
  daemon.scripts = {{FakeAdmin::Send(ServingStatus()), FakeAdmin::AwaitShutdown(),
                     FakeAdmin::Send(EventOf(ForcedReceipt())), FakeAdmin::End()}};
  EXPECT_EQ(Run({"shutdown"}), kExitFailed);
  EXPECT_THAT(out(), HasSubstr("did not return"));
  EXPECT_THAT(err(), IsEmpty());
}

TEST_F(VerbsTest, ShutdownWithReceiptEndsWellHoweverTheStreamBreaks) {
  FakeAdmin& daemon = StartDaemon();
  daemon.scripts = {{FakeAdmin::Send(ServingStatus()), FakeAdmin::AwaitShutdown(),
                     FakeAdmin::Send(EventOf(CleanReceipt())),
                     FakeAdmin::End(Code::kUnavailable, "Socket closed")}};
  EXPECT_EQ(Run({"shutdown"}), kExitDone);
}

// Every look at the clock takes a minute once it was asked: nobody waits for real.
TEST_F(VerbsTest, ShutdownAndWatchEndWithTheReceiptOfADaemonThatHangsAfterIt) {
  const std::vector<std::pair<admin::v1::ReceiptEvent, int>> receipts{
      {EventOf(CleanReceipt()), kExitDone}, {EventOf(ForcedReceipt()), kExitFailed}};
  for (const auto& [receipt, exit_code] : receipts) {
    FakeAdmin& daemon = StartDaemon();
    clock_.passed = [&daemon, looks = 0]() mutable {
      return daemon.asked().size() > 1 ? 1min * ++looks : 0min;
    };
    const auto status = FakeAdmin::Send(ServingStatus());
    const auto end = FakeAdmin::Send(receipt);
    daemon.scripts = {{status, FakeAdmin::AwaitShutdown(), end, FakeAdmin::Hold()},
                      {status, end, FakeAdmin::Hold()},
                      {status, end, FakeAdmin::Hold()}};
    EXPECT_EQ(Run({"shutdown"}), exit_code);
    EXPECT_THAT(out(), StartsWith("lastcalld: " + receipt.receipt().outcome()));
    EXPECT_THAT(err(), IsEmpty());
    EXPECT_EQ(Run({"watch"}), exit_code);
    EXPECT_THAT(out(), HasSubstr("lastcalld: " + receipt.receipt().outcome()));
    EXPECT_EQ(Run({"wait", "stopped"}), kExitDone);
    EXPECT_EQ(out(), receipt.receipt().outcome() + "\n");
    clock_.passed = [] { return 0min; };
  }
}

TEST_F(VerbsTest, ShutdownWithoutReceiptFails) {
  for (const Code code : {Code::kOk, Code::kUnavailable}) {
    FakeAdmin& daemon = StartDaemon();
    daemon.scripts = {{FakeAdmin::Send(ServingStatus()), FakeAdmin::AwaitShutdown(),
                       FakeAdmin::End(code, "Socket closed")}};
    EXPECT_EQ(Run({"shutdown"}), kExitFailed);
    EXPECT_THAT(err(), StartsWith("lastcallctl: lastcalld ended without a receipt ("));
  }
}

TEST_F(VerbsTest, ShutdownOfDaemonThatIsEndingAlreadyStillPrintsTheReceipt) {
  FakeAdmin& daemon = StartDaemon();
  daemon.error = {Code::kUnavailable, "Socket closed"};
  daemon.scripts = {{FakeAdmin::Send(StoppingStatus(v1::STAGE_CANCEL)), FakeAdmin::AwaitShutdown(),
                     FakeAdmin::Send(EventOf(CleanReceipt())), FakeAdmin::End()}};
  EXPECT_EQ(Run({"shutdown"}), kExitDone);
  EXPECT_THAT(out(), HasSubstr("every call finished"));
}

TEST_F(VerbsTest, ShutdownGivesUpAtItsTimeOut) {
  FakeAdmin& daemon = StartDaemon();
  daemon.scripts = {{FakeAdmin::Send(ServingStatus()), FakeAdmin::AwaitShutdown(),
                     FakeAdmin::Send(StoppingStatus(v1::STAGE_GRACE)), FakeAdmin::Hold()}};
  clock_.passed = [this] { return out().find("grace:") != std::string::npos ? 1h : 0h; };
  EXPECT_EQ(Run({"shutdown", "--timeout", "10m"}), kExitTimedOut);
  EXPECT_EQ(err(),
            "lastcallctl: gave up waiting; lastcalld goes on stopping by itself (grace: 18.8s "
            "left, 23.8s at most in all; 3 in flight (public 3))\n");
}

TEST_F(VerbsTest, ShutdownThatCannotBeWaitedForIsAskedFor) {
  FakeAdmin& daemon = StartDaemon();
  daemon.scripts = {{FakeAdmin::End(Code::kResourceExhausted, "uid 0 has 48 calls that wait")}};
  EXPECT_EQ(Run({"shutdown"}), kExitTimedOut);
  EXPECT_THAT(daemon.asked(), testing::ElementsAre("Watch", "Shutdown"));
  EXPECT_EQ(err(),
            "lastcallctl: the shutdown is on its way, but cannot be waited for: uid 0 has 48 "
            "calls that wait\n");
}

TEST_F(VerbsTest, ShutdownThatNobodyWaitsForPrintsThePlan) {
  FakeAdmin& daemon = StartDaemon();
  *daemon.shutdown_response.mutable_plan() = StoppingStatus(v1::STAGE_DELAY).plan();
  daemon.shutdown_response.set_moved(true);
  EXPECT_EQ(Run({"shutdown", "--dry-run"}), kExitDone);
  EXPECT_THAT(out(), StartsWith("would stop\n  grace in 3.8s, "));
  EXPECT_TRUE(daemon.shutdown_request().dry_run());
  EXPECT_EQ(Run({"shutdown", "--no-wait"}), kExitDone);
  EXPECT_THAT(out(), StartsWith("stopping\n"));
  EXPECT_FALSE(daemon.shutdown_request().dry_run());
  EXPECT_EQ(Run({"shutdown", "--no-wait", "--json"}), kExitDone);
  EXPECT_THAT(out(), AllOf(StartsWith(R"({"api_version":"lastcall/v1","kind":"Plan","plan":{)"),
                           HasSubstr(R"("grace_in_s":3.84,)"), HasSubstr(R"("moved":true)")));
  EXPECT_THAT(daemon.asked(), ElementsAre("Shutdown", "Shutdown", "Shutdown"));
}

TEST_F(VerbsTest, WatchPrintsEachChange) {
  StartDaemon().scripts = {{FakeAdmin::Send(ServingStatus()), FakeAdmin::Send(ServingStatus()),
                            FakeAdmin::Send(StoppingStatus(v1::STAGE_DELAY)),
                            FakeAdmin::Send(EventOf(CleanReceipt())), FakeAdmin::End()}};
  EXPECT_EQ(Run({"watch"}), kExitDone);
  EXPECT_THAT(
      out(),
      StartsWith(R"(2026-11-21T02:18:10.000Z  serving; 2 processes, 2 servers, 3 calls in flight
2026-11-21T02:18:10.000Z  shutdown requested by SIGTERM from kill (pid 4711, uid 0): grace in 3.8s, )"
                 R"(cancel in 18.8s, end in 23.8s at the latest
2026-11-21T02:18:10.000Z  serving → delay
2026-11-21T02:18:10.000Z  stopped
lastcalld: stopped in 6.21s, every call finished

requests
)"));
}

TEST_F(VerbsTest, WatchEndsWithTheReceiptAndItsExitCode) {
  for (const char* form : {"watch", "--json"}) {
    StartDaemon().scripts = {{FakeAdmin::Send(ServingStatus()),
                              FakeAdmin::Send(EventOf(ForcedReceipt())), FakeAdmin::End()}};
    EXPECT_EQ(Run({"watch", form == std::string("watch") ? "--timeout=1h" : form}), kExitFailed);
  }
  StartDaemon().scripts = {{FakeAdmin::Send(ServingStatus()),
                            FakeAdmin::Send(EventOf(ForcedReceipt())), FakeAdmin::End()}};
  Run({"watch"});
  EXPECT_THAT(out(), AllOf(HasSubstr("prices did not return; exit code 4\n"),
                           HasSubstr("\ncancelled\n"), HasSubstr("\nprocesses\n")));
}

TEST_F(VerbsTest, WatchAsJsonPrintsOneObjectPerEvent) {
  StartDaemon().scripts = {{FakeAdmin::Send(ServingStatus()),
                            FakeAdmin::Send(EventOf(CleanReceipt())), FakeAdmin::End()}};
  EXPECT_EQ(Run({"watch", "--json"}), kExitDone);
  std::istringstream lines(out());
  std::string status, receipt, end;
  std::getline(lines, status);
  std::getline(lines, receipt);
  EXPECT_THAT(status,
              StartsWith(R"({"api_version":"lastcall/v1","kind":"Event",)"
                         R"("at":"2026-11-21T02:18:10.000Z","status":{"stage":"serving",)"));
  EXPECT_THAT(
      receipt,
      EndsWith(R"("receipt":{"api_version":"lastcall/v1","kind":"Receipt","from":"daemon"}})"));
  EXPECT_FALSE(std::getline(lines, end));
}

TEST_F(VerbsTest, WatchThatBreaksIsUnreachable) {
  StartDaemon().scripts = {
      {FakeAdmin::Send(ServingStatus()), FakeAdmin::End(Code::kUnavailable, "Socket closed")}};
  EXPECT_EQ(Run({"watch"}), kExitUnreachable);
  EXPECT_EQ(
      err(),
      "lastcallctl: the connection to lastcalld broke: Socket closed; it has ended, or this user "
      "has too many connections to it (its log says so)\n");
}

TEST_F(VerbsTest, WatchThatIsDenied) {
  StartDaemon().scripts = {{FakeAdmin::End(Code::kPermissionDenied, "you lack lastcall-view")}};
  EXPECT_EQ(Run({"watch"}), kExitDenied);
  EXPECT_THAT(out(), IsEmpty());
}

TEST_F(VerbsTest, ShutdownIsAskedOfTheBuildThatTookOver) {
  FakeAdmin& daemon = StartDaemon();
  daemon.shutdowns_refused = 1;
  const auto status = FakeAdmin::Send(ServingStatus());
  daemon.scripts = {
      {status, FakeAdmin::AwaitShutdown(), status, FakeAdmin::GiveWay(), FakeAdmin::End()},
      {status, FakeAdmin::Send(EventOf(CleanReceipt())), FakeAdmin::End()}};
  EXPECT_EQ(Run({"shutdown"}), kExitDone) << err();
  const auto asked = daemon.asked();
  EXPECT_EQ(std::count(asked.begin(), asked.end(), "Shutdown"), 2);
}

TEST_F(VerbsTest, WatchBeginsAgainWithTheDaemonThatTookOver) {
  const SilentSocket before(socket_);
  std::thread give_way([&] {
    const UniqueFd refused(::accept(before.fd(), nullptr, nullptr));
    unlink(socket_.c_str());
    StartDaemon();
    daemon_->scripts = {{FakeAdmin::Send(EventOf(CleanReceipt())), FakeAdmin::End()}};
  });
  EXPECT_EQ(Run({"watch"}), kExitDone) << err();
  give_way.join();
}

}  // namespace
}  // namespace lastcall
