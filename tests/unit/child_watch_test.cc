// A child that is watched from the loop.
#include "daemon/process/child_watch.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <boost/asio/post.hpp>

#include <csignal>
#include <memory>
#include <optional>
#include <string>
#include <utility>

namespace lastcall {
namespace {

class ChildWatchTest : public testing::Test {
 protected:
  void Start(const std::string& script) {
    auto child = ChildProcess::Start({.program = "/bin/sh", .arguments = {"sh", "-c", script}},
                                     {.keep_output = 100});
    ASSERT_TRUE(child) << child.error().message;
    watch_ = std::make_unique<ChildWatch>(loop_, std::move(*child));
    pid_ = watch_->pid();
  }
  void Begin() {
    watch_->Begin([this](ChildEnd end) {
      EXPECT_FALSE(end_) << "it ended twice";
      end_ = std::move(end);
    });
  }
  // Of one that is nobody's any more. Blocks: until it has ended.
  void Reap() {
    siginfo_t info{};
    EXPECT_EQ(waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOWAIT), 0);
    EXPECT_EQ(ReapOrphan(), pid_);
  }

  boost::asio::io_context loop_;
  std::unique_ptr<ChildWatch> watch_;
  pid_t pid_ = 0;
  std::optional<ChildEnd> end_;
};

TEST_F(ChildWatchTest, TheEndIsToldFromTheLoopWithWhatWasSaid) {
  Start("head -c 1000000 /dev/zero | tr '\\0' x; echo; echo done; exit 3");
  Begin();
  EXPECT_FALSE(end_);
  EXPECT_GT(watch_->pid(), 0);
  loop_.run();  // until nothing is waited for
  ASSERT_TRUE(end_);
  EXPECT_EQ(end_->status.code, 3);
  EXPECT_EQ(end_->output.Lines(), "…\ndone");
}

TEST_F(ChildWatchTest, AfterTheEndThereIsNobody) {
  Start("exec sleep 1000");
  Begin();
  EXPECT_GE(watch_->exited_fd(), 0);
  watch_->Kill();
  loop_.run();
  EXPECT_EQ(end_.value().status.signal, SIGKILL);
  EXPECT_EQ(watch_->pid(), 0);
  EXPECT_EQ(watch_->exited_fd(), -1);
  watch_->Kill();
}

TEST_F(ChildWatchTest, OneThatHasNotBegunCanBeKilled) {
  Start("exec sleep 1000");
  watch_->Kill();
  Begin();
  loop_.run();
  EXPECT_EQ(end_.value().status.signal, SIGKILL);
}

TEST_F(ChildWatchTest, ItMayBeDestroyedFromWhatItTells) {
  Start("exit 3");
  bool told = false;
  watch_->Begin([&](const ChildEnd& end) {
    watch_.reset();
    told = end.status.code == 3;
  });
  loop_.run();
  EXPECT_TRUE(told);
}

TEST_F(ChildWatchTest, DestroyingItLeavesTheChildAloneAndTellsNothing) {
  Start("exec sleep 1000");
  Begin();
  watch_.reset();
  loop_.run();
  EXPECT_EQ(kill(pid_, SIGTERM), 0);
  Reap();
  EXPECT_FALSE(end_);
}

// The loop has found words and the end, and tells of neither.
TEST_F(ChildWatchTest, DestroyingItWithItsEndInTheQueueTellsNothing) {
  Start("echo words");
  Begin();
  siginfo_t info{};
  ASSERT_EQ(waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOWAIT), 0);
  boost::asio::post(loop_, [this] { watch_.reset(); });
  loop_.run();
  EXPECT_FALSE(end_);
  Reap();
}

}  // namespace
}  // namespace lastcall
