// A host that goes on in another build of the daemon: what it was to be told is told once, and what
// it says last is heard.
#include "daemon/process/host_process.h"

#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <boost/asio/io_context.hpp>

#include <csignal>
#include <string>
#include <vector>

#include <lastcall/child/spawn.h>
#include <lastcall/testing/fake_process.h>

namespace lastcall {
namespace {

class NoContext final : public HostContext {
 public:
  LogLevel log_level() const override { return LogLevel::kInfo; }
  bool IsDraining(const std::string&) const override { return false; }
  void Reported() override {}
  void StallsChanged() override {}
  bool WillBeServed(const std::string&, const Process&) const override { return false; }
  void Ended(const std::vector<ServerView>&) override {}
  void LeftBehind(std::vector<UniqueFd>) override {}
};

class Silent final : public ProcessEvents {
 public:
  void Ready() override {}
  void StartFailed(const Error&) override {}
  void StageReached(Stage) override {}
  void Frozen(const std::string&) override {}
  void Requested(Request) override {}
  void Reported(Receipt) override {}
  void Exited(const ExitStatus&) override {}
};

// One that is saved with a word in its outbox; the test is the host at the other end.
class ResumedHostTest : public testing::Test {
 protected:
  ResumedHostTest() : ends_(std::move(*Channel::Pair())) {
    saved_.set_pid(getpid());  // somebody who lives
    saved_.set_pidfd(static_cast<int>(syscall(SYS_pidfd_open, getpid(), 0)));
    saved_.set_channel(ends_.first.Release().Release());
    saved_.add_addresses("127.0.0.1:7");
    saved_.add_outbox()->mutable_accept()->set_accept(true);
    saved_.mutable_report()->add_servers()->set_name("public");
  }
  std::unique_ptr<HostProcess> Make() {
    return std::make_unique<HostProcess>(loop_, "main", saved_, 3, context_,
                                         [](LogLevel, std::string_view) {});
  }
  // What the host is told now.
  Channel::Received Heard() {
    loop_.poll();
    host::v1::ToHost message;
    return ends_.second.TryReceive(message, nullptr);
  }

  boost::asio::io_context loop_{1};
  NoContext context_;
  std::pair<Channel, Channel> ends_;
  state::v1::Host saved_;
};

// A child that only proves itself is made from the state too, beside the daemon that it would replace.
TEST_F(ResumedHostTest, MakingOneTellsItNothing) {
  const auto host = Make();
  EXPECT_EQ(Heard(), Channel::Received::kNothingYet);
  host->Resume(std::make_shared<Silent>());
  EXPECT_EQ(Heard(), Channel::Received::kYes);
  EXPECT_EQ(Heard(), Channel::Received::kNothingYet);
}

TEST_F(ResumedHostTest, ItIsSavedAsItWas) {
  const auto host = Make();
  EXPECT_TRUE(host->ListensOn("127.0.0.1:7"));
  EXPECT_EQ(host->servers().at(0).name, "public");
  const auto again = host->Save();
  ASSERT_TRUE(again);
  state::v1::Host read;
  ASSERT_TRUE(read.ParseFromString(again->state));
  EXPECT_EQ(read.SerializeAsString(), saved_.SerializeAsString());
  EXPECT_EQ(again->descriptors, (std::vector<int>{saved_.pidfd(), saved_.channel()}));
}

// Writes down the last of what it is told.
class LastWords final : public ProcessEvents {
 public:
  void Ready() override {}
  void StartFailed(const Error&) override {}
  void StageReached(Stage) override {}
  void Frozen(const std::string&) override {}
  void Requested(Request) override {}
  void Reported(Receipt receipt) override { heard.push_back("receipt of " + receipt.subject); }
  void Exited(const ExitStatus& status) override {
    heard.push_back("exited by " + std::to_string(status.signal));
  }

  std::vector<std::string> heard;
};

// A real child, beside a channel whose other end the test has.
class EndingHostTest : public ResumedHostTest {
 protected:
  EndingHostTest() {
    auto child = Spawn({.program = "/bin/sleep", .arguments = {"sleep", "600"}});
    if (!child) throw std::runtime_error(child.error().message);
    saved_.set_pid(pid_ = child->pid);
    close(saved_.pidfd());
    saved_.set_pidfd(child->pidfd.Release());
    Disown(pid_);  // as the build before does by its end
    host_ = Make();
    host_->Resume(events_);
    loop_.poll();
  }
  ~EndingHostTest() override {
    if (events_->heard.empty()) kill(pid_, SIGKILL);
  }

  void SayReceipt() {
    host::v1::FromHost message;
    message.mutable_receipt()->set_subject("main");
    EXPECT_EQ(ends_.second.TrySend(message), Channel::Sent::kYes);
  }
  // Returns when the kernel says so.
  void Die() {
    siginfo_t info{};
    EXPECT_EQ(kill(pid_, SIGTERM), 0);
    EXPECT_EQ(waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOWAIT), 0);
  }
  std::vector<std::string> Hear() {
    while (events_->heard.empty() || events_->heard.back() == "receipt of main") {
      if (loop_.run_one() == 0) break;
    }
    return events_->heard;
  }

  const std::vector<std::string> kBoth{"receipt of main", "exited by 15"};
  pid_t pid_ = 0;
  std::shared_ptr<LastWords> events_ = std::make_shared<LastWords>();
  std::unique_ptr<HostProcess> host_;
};

TEST_F(EndingHostTest, ItsReceiptIsHeardBeforeItsEnd) {
  SayReceipt();
  loop_.poll();
  EXPECT_EQ(events_->heard, std::vector<std::string>{"receipt of main"});
  Die();
  EXPECT_EQ(Hear(), kBoth);
}

TEST_F(EndingHostTest, ItsReceiptIsHeardWhereBothAreThereAtOnce) {
  SayReceipt();
  Die();
  EXPECT_EQ(Hear(), kBoth);
}

// The kernel tells what was there first, the end.
TEST_F(EndingHostTest, ItsReceiptIsHeardWhereItsEndIsSeenFirst) {
  Die();
  SayReceipt();
  EXPECT_EQ(Hear(), kBoth);
}

TEST_F(EndingHostTest, ItsEndIsHeardWhereItClosedItsChannelBefore) {
  SayReceipt();
  ends_.second = Channel(UniqueFd());
  loop_.poll();
  Die();
  EXPECT_EQ(Hear(), kBoth);
}

}  // namespace
}  // namespace lastcall
