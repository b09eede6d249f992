// lastcallctl cancel against a fake daemon: whom it asks what, and how it ends.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <thread>
#include <vector>

#include "ctl_verbs_fixture.h"

namespace lastcall {
namespace {

using admin::v1::CancelCallsRequest;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::StartsWith;

TEST_F(VerbsTest, CancelByIdAsksNobody) {
  FakeAdmin& daemon = StartDaemon();
  daemon.cancel_response.set_cancelled(1);
  daemon.cancel_response.add_not_in_flight("main/3/2");
  EXPECT_EQ(Run({"cancel", "main/3/1", "main/3/2", "--reason", "it holds a lock"}), kExitDone);
  EXPECT_EQ(out(), "1 call cancelled\nmain/3/2 is not in flight\n");
  ASSERT_EQ(daemon.cancel_requests().size(), 1u);
  const CancelCallsRequest request = daemon.cancel_requests()[0];
  EXPECT_THAT(request.ids(), ElementsAre("main/3/1", "main/3/2"));
  EXPECT_EQ(request.reason(), "it holds a lock");
  EXPECT_FALSE(request.dry_run());
  EXPECT_FALSE(request.has_filter());
}

TEST_F(VerbsTest, CancelOfIdsOfWhichNoneIsInFlight) {
  FakeAdmin& daemon = StartDaemon();
  daemon.cancel_response.add_not_in_flight("main/3/2");
  for (const char* form : {"--yes", "--json", "--dry-run"}) {
    EXPECT_EQ(Run({"cancel", "main/3/2", form}), kExitNoSuchName) << form;
  }
  daemon.error = {Code::kNotFound, "none of them is in flight"};
  EXPECT_EQ(Run({"cancel", "main/3/2"}), kExitNoSuchName);
  EXPECT_EQ(err(), "lastcallctl: none of them is in flight\n");
}

TEST_F(VerbsTest, CancelByFilterAsksThePersonFirst) {
  FakeAdmin& daemon = StartDaemon();
  daemon.cancel_response.set_cancelled(12);
  std::vector<std::string> questions;
  bool answer = false;
  confirm_ = [&](const std::string& question) {
    questions.push_back(question);
    return answer;
  };
  const std::vector<const char*> cancel{"cancel", "--server", "public",  "--method", "/shop.*",
                                        "--peer", "127.*",    "--older", "1m"};
  EXPECT_EQ(Run(cancel), kExitFailed);
  EXPECT_THAT(out(), IsEmpty());
  EXPECT_EQ(err(), "lastcallctl: no call was cancelled\n");
  ASSERT_EQ(daemon.cancel_requests().size(), 1u);
  EXPECT_TRUE(daemon.cancel_requests()[0].dry_run());
  answer = true;
  EXPECT_EQ(Run(cancel), kExitDone);
  EXPECT_EQ(out(), "12 calls cancelled\n");
  EXPECT_THAT(questions, ElementsAre("Cancel 12 calls?", "Cancel 12 calls?"));
  ASSERT_EQ(daemon.cancel_requests().size(), 3u);
  const CancelCallsRequest request = daemon.cancel_requests()[2];
  EXPECT_FALSE(request.dry_run());
  EXPECT_EQ(request.filter().server(), "public");
  EXPECT_EQ(request.filter().method(), "/shop.*");
  EXPECT_EQ(request.filter().peer(), "127.*");
  EXPECT_EQ(request.filter().older_s(), 60);
}

TEST_F(VerbsTest, CancelByFilterIsRefusedWhereNobodyCanBeAsked) {
  FakeAdmin& daemon = StartDaemon();
  EXPECT_EQ(Run({"cancel", "--method", "*", "--json"}), kExitUsage);
  EXPECT_EQ(err(),
            "lastcallctl: nobody can be asked here whether to cancel them: give --yes; --dry-run "
            "says how many there are\n");
  EXPECT_THAT(daemon.asked(), IsEmpty());
  daemon.cancel_response.set_cancelled(2);
  EXPECT_EQ(Run({"cancel", "--method", "*", "--json", "--yes"}), kExitDone);
  EXPECT_EQ(out(), R"({"api_version":"lastcall/v1","kind":"Cancelled","cancelled":2,)"
                   R"("not_in_flight":[],"not_answering":[]})"
                   "\n");
  ASSERT_EQ(daemon.cancel_requests().size(), 1u);
  EXPECT_FALSE(daemon.cancel_requests()[0].dry_run());
}

TEST_F(VerbsTest, CancelDryRunOnlyCounts) {
  FakeAdmin& daemon = StartDaemon();
  daemon.cancel_response.set_cancelled(1);
  EXPECT_EQ(Run({"cancel", "--older", "1h", "--dry-run"}), kExitDone);
  EXPECT_EQ(out(), "would cancel 1 call\n");
  EXPECT_EQ(Run({"cancel", "main/3/1", "--dry-run"}), kExitDone);
  ASSERT_EQ(daemon.cancel_requests().size(), 2u);
  for (const CancelCallsRequest& request : daemon.cancel_requests()) {
    EXPECT_TRUE(request.dry_run());
  }
}

TEST_F(VerbsTest, CancelThatFindsNothingIsDone) {
  StartDaemon();
  confirm_ = [](const std::string& question) {
    ADD_FAILURE() << "there is nothing to ask: " << question;
    return true;
  };
  for (const char* form : {"--yes", "--dry-run", "--reason=asks"}) {
    EXPECT_EQ(Run({"cancel", "--older", "1h", form}), kExitDone) << form;
    EXPECT_EQ(out(), "no such calls\n") << form;
  }
  EXPECT_EQ(Run({"cancel", "--server", "pubilc", "--yes"}), kExitNoSuchName);
  EXPECT_EQ(err(), "lastcallctl: there is no server \"pubilc\"; did you mean \"public\"?\n");
}

TEST_F(VerbsTest, CancelFailsWhereAProcessDoesNotAnswer) {
  FakeAdmin& daemon = StartDaemon();
  daemon.cancel_response.set_cancelled(3);
  daemon.cancel_response.add_not_answering("old");
  EXPECT_EQ(Run({"cancel", "--older", "1h", "--yes"}), kExitFailed);
  EXPECT_EQ(out(), "3 calls cancelled\nprocess old does not answer: its calls are not cancelled\n");
  EXPECT_EQ(Run({"cancel", "--older", "1h", "--dry-run"}), kExitFailed);
  EXPECT_EQ(out(),
            "would cancel 3 calls\nprocess old does not answer: its calls are not counted\n");
  daemon.cancel_response.set_cancelled(0);
  EXPECT_EQ(Run({"cancel", "old/1/1"}), kExitFailed) << "it may be in flight";
}

// It may have been done where the connection broke, and others have come since.
TEST_F(VerbsTest, CancelIsAskedForOnce) {
  const SilentSocket before(socket_);
  std::thread give_way([&] {
    const UniqueFd refused(::accept(before.fd(), nullptr, nullptr));
    unlink(socket_.c_str());
    StartDaemon();
  });
  EXPECT_EQ(Run({"cancel", "--older", "1h", "--yes"}), kExitUnreachable);
  EXPECT_THAT(err(), StartsWith("lastcallctl: the connection to lastcalld broke: "));
  give_way.join();
  EXPECT_THAT(daemon_->asked(), IsEmpty());
}

TEST_F(VerbsTest, TextOfAnyBytesIsMadeSafeForTheDaemonAndForTheTerminal) {
  FakeAdmin& daemon = StartDaemon();
  daemon.cancel_response.set_cancelled(1);
  daemon.cancel_response.add_not_in_flight("\x1b[2J");
  daemon.cancel_response.add_not_answering("evil\x07");
  EXPECT_EQ(Run({"cancel", "\xff", "--reason", "\xfe"}), kExitFailed);
  EXPECT_THAT(daemon.cancel_requests().at(0).ids(), ElementsAre("\\xff"));
  EXPECT_EQ(daemon.cancel_requests().at(0).reason(), "\\xfe");
  EXPECT_EQ(out(),
            "1 call cancelled\n\\x1b[2J is not in flight\n"
            "process evil\\x07 does not answer: its calls are not cancelled\n");
}

}  // namespace
}  // namespace lastcall
