// Children that are shells: their end, their words, and those they leave behind.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <spawn.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <optional>
#include <string>
#include <utility>

#include <lastcall/child/child_process.h>

namespace lastcall {
namespace {

using testing::AllOf;
using testing::EndsWith;
using testing::HasSubstr;
using testing::SizeIs;

constexpr size_t kKept = 4096;

ChildProcess Shell(const std::string& script, size_t keep_output = kKept) {
  auto child = ChildProcess::Start({.program = "/bin/sh", .arguments = {"sh", "-c", script}},
                                   {.keep_output = keep_output});
  EXPECT_TRUE(child) << child.error().message;
  return std::move(*child);
}

// Reads, as a loop does, until it has ended.
ChildEnd EndOf(ChildProcess& child) {
  std::array<pollfd, 2> events{};
  do {
    events = {{{child.exited_fd(), POLLIN, 0}, {child.output_fd(), POLLIN, 0}}};
    EXPECT_GT(poll(events.data(), events.size(), -1), 0);
    child.ReadOutput();
  } while (events[0].revents == 0);
  return child.Finish();
}

// Blocks: until it has ended, without a look at what it wrote.
void AwaitEnd(pid_t pid) {
  siginfo_t info{};
  EXPECT_EQ(waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOWAIT), 0);
}

bool IsReaped(pid_t pid) {
  siginfo_t info{};
  return waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOWAIT | WNOHANG) != 0 &&
         errno == ECHILD;
}

// A pipe that children inherit: who holds its end is alive.
class Lifeline {
 public:
  Lifeline() {
    int ends[2];
    EXPECT_EQ(pipe(ends), 0);
    reading_.Reset(ends[0]);
    writing_.Reset(ends[1]);
    fcntl(ends[0], F_SETFD, FD_CLOEXEC);
  }

  // For scripts.
  std::string end() const { return "/dev/fd/" + std::to_string(writing_.get()); }
  // To one who reads from the same end.
  void SayLine() { EXPECT_EQ(write(writing_.get(), "\n", 1), 1); }
  // Blocks: until a line was written by those who have the other end.
  void AwaitLine() {
    writing_.Reset();
    char each = 0;
    while (each != '\n' && read(reading_.get(), &each, 1) == 1) continue;
    EXPECT_EQ(each, '\n');
  }
  // Blocks: until nobody is alive.
  void AwaitDeath() {
    writing_.Reset();
    char ignored[64];
    while (read(reading_.get(), ignored, sizeof(ignored)) > 0) continue;
  }

 private:
  UniqueFd reading_;
  UniqueFd writing_;
};

TEST(ChildProcessTest, EndsWithItsExitCode) {
  ChildProcess child = Shell("exit 3");
  EXPECT_GT(child.pid(), 0);
  const pid_t pid = child.pid();
  const ChildEnd end = EndOf(child);
  EXPECT_EQ(end.status.code, 3);
  EXPECT_EQ(end.status.signal, 0);
  EXPECT_EQ(end.output.Line(), "");
  EXPECT_EQ(child.pid(), 0);
  EXPECT_TRUE(IsReaped(pid));
}

TEST(ChildProcessTest, EndsByItsSignal) {
  ChildProcess child = Shell("kill -TERM $$");
  const ChildEnd end = EndOf(child);
  EXPECT_EQ(end.status.signal, SIGTERM);
  EXPECT_EQ(end.status.code, 0);
}

TEST(ChildProcessTest, OutputIsOfBothStreams) {
  ChildProcess child = Shell("echo one; echo two >&2");
  EXPECT_EQ(EndOf(child).output.Lines(), "one\ntwo");
}

TEST(ChildProcessTest, OutputThatIsNotKeptIsNotTaken) {
  ChildProcess child = Shell("test ! -p /dev/stdout", 0);
  EXPECT_EQ(child.output_fd(), -1);
  const pid_t pid = child.pid();
  AwaitEnd(pid);
  child.ReadOutput();
  EXPECT_EQ(child.Finish().output.Lines(), "");
}

TEST(ChildProcessTest, OutputIsBoundedAndSafe) {
  ChildProcess child = Shell("seq 10000; printf '\\033[31m \\377\\n'", 16);
  EXPECT_EQ(EndOf(child).output.Lines(), "…\n10000\n\\x1b[31m \\xff");
}

TEST(ChildProcessTest, MoreOutputThanAPipeHoldsDoesNotHoldItUp) {
  ChildProcess child = Shell("head -c 1000000 /dev/zero | tr '\\0' x; echo; echo done; exit 4");
  const ChildEnd end = EndOf(child);
  EXPECT_EQ(end.status.code, 4);
  EXPECT_THAT(end.output.Lines(), AllOf(EndsWith("\ndone"), SizeIs(testing::Le(kKept + 3))));
}

TEST(ChildProcessTest, NoMoreThanAPipeHoldsIsReadAtATime) {
  Lifeline lifeline;
  ChildProcess child = Shell("read x <" + lifeline.end() + "; head -c 1000000 /dev/zero");
  ASSERT_GE(fcntl(child.output_fd(), F_SETPIPE_SZ, 1 << 20), 1 << 20);
  lifeline.SayLine();
  AwaitEnd(child.pid());
  child.ReadOutput();
  int left = 0;
  ioctl(child.output_fd(), FIONREAD, &left);
  EXPECT_EQ(left, 1000000 - (64 << 10));
  EXPECT_EQ(child.Finish().status.code, 0);
}

TEST(ChildProcessTest, ReadingDoesNotWaitForWords) {
  ChildProcess child = Shell("exec sleep 1000");
  child.ReadOutput();
  EXPECT_GE(child.output_fd(), 0);
  (void)child.Finish();
}

TEST(ChildProcessTest, AnEndBeforeAnybodyLooksIsNotMissed) {
  ChildProcess child = Shell("echo gone; exit 7");
  AwaitEnd(child.pid());
  const ChildEnd end = child.Finish();
  EXPECT_EQ(end.status.code, 7);
  EXPECT_EQ(end.output.Line(), "gone");
}

TEST(ChildProcessTest, OutputCanEndBeforeTheChild) {
  Lifeline lifeline;
  ChildProcess child = Shell("exec >" + lifeline.end() + " 2>&1; echo; exec sleep 1000");
  lifeline.AwaitLine();
  EXPECT_GE(child.output_fd(), 0);
  child.ReadOutput();
  EXPECT_EQ(child.output_fd(), -1);
  EXPECT_EQ(child.Finish().status.signal, SIGKILL);
}

// It has left the group, so that no kill reaches it, and keeps the pipe full.
TEST(ChildProcessTest, AGrandchildThatTalksForeverHoldsNothingUp) {
  Lifeline lifeline;
  ChildProcess child = Shell("x=$(setsid sh -c 'echo left; exec yes >&2' & ); read x <" +
                             lifeline.end() + "; exit 3");
  pollfd talks{child.output_fd(), POLLIN, 0};
  ASSERT_EQ(poll(&talks, 1, -1), 1);
  for (int i = 0; i < 100; ++i) child.ReadOutput();
  lifeline.SayLine();
  const ChildEnd end = EndOf(child);
  EXPECT_EQ(end.status.code, 3);
  EXPECT_THAT(end.output.Line(), EndsWith("y | y | y"));
}

TEST(ChildProcessTest, KillReachesTheGroup) {
  Lifeline lifeline;
  ChildProcess child = Shell("sh -c 'echo >" + lifeline.end() + "; exec sleep 1000' & wait");
  lifeline.AwaitLine();
  child.Kill();
  lifeline.AwaitDeath();
  EXPECT_EQ(EndOf(child).status.signal, SIGKILL);
}

TEST(ChildProcessTest, FinishKillsWhatIsLeftBehind) {
  Lifeline lifeline;
  ChildProcess child = Shell("sleep 1000 & exit 3");
  AwaitEnd(child.pid());
  EXPECT_EQ(child.Finish().status.code, 3);
  lifeline.AwaitDeath();
}

TEST(ChildProcessTest, FinishEndsOneThatRuns) {
  ChildProcess child = Shell("exec sleep 1000");
  const pid_t pid = child.pid();
  EXPECT_EQ(child.Finish().status.signal, SIGKILL);
  EXPECT_TRUE(IsReaped(pid));
  child.Kill();  // nobody
}

TEST(ChildProcessTest, KillReachesOneOutsideOfItsOwnGroup) {
  pid_t pid = 0;
  std::string name = "sleep", forever = "1000";
  char* const arguments[] = {name.data(), forever.data(), nullptr};
  ASSERT_EQ(posix_spawnp(&pid, "sleep", nullptr, nullptr, arguments, environ), 0);
  UniqueFd pidfd(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  ChildProcess child = ChildProcess::Adopt({pid, std::move(pidfd)});
  EXPECT_EQ(child.Finish().status.signal, SIGKILL);
}

TEST(ChildProcessTest, OneThatWasLetGoCanBeAdopted) {
  Lifeline lifeline;
  std::optional<ChildProcess> first = Shell("echo >" + lifeline.end() + "; exec sleep 1000");
  const pid_t pid = first->pid();
  UniqueFd pidfd(fcntl(first->exited_fd(), F_DUPFD_CLOEXEC, 0));
  lifeline.AwaitLine();
  first.reset();
  ChildProcess second = ChildProcess::Adopt({pid, std::move(pidfd)});
  EXPECT_EQ(second.output_fd(), -1);
  kill(pid, SIGTERM);
  AwaitEnd(pid);
  EXPECT_EQ(ReapOrphan(), std::nullopt);  // it has an owner again
  EXPECT_EQ(EndOf(second).status.signal, SIGTERM);
}

TEST(ChildProcessTest, OneThatWasLetGoLivesAndIsReapedAsAnOrphan) {
  Lifeline lifeline;
  std::optional<ChildProcess> child = Shell("read x <" + lifeline.end() + "; exit 5");
  const pid_t pid = child->pid();
  child.reset();
  EXPECT_EQ(ReapOrphan(), std::nullopt);  // it runs
  EXPECT_EQ(kill(pid, SIGKILL), 0);
  AwaitEnd(pid);
  EXPECT_EQ(ReapOrphan(), pid);
}

TEST(ChildProcessTest, WhatIsMovedIsOneChild) {
  ChildProcess first = Shell("exit 1"), second = Shell("exit 2");
  const pid_t replaced = first.pid();
  first = std::move(second);
  EXPECT_EQ(second.pid(), 0);  // NOLINT(bugprone-use-after-move)
  EXPECT_EQ(EndOf(first).status.code, 2);
  AwaitEnd(replaced);
  EXPECT_EQ(ReapOrphan(), replaced);
}

TEST(ChildProcessTest, AProgramThatIsMissingIsNamed) {
  const auto child = ChildProcess::Start(
      {.program = "/nowhere/to/be/found", .arguments = {"/nowhere/to/be/found"}},
      {.keep_output = kKept});
  ASSERT_FALSE(child);
  EXPECT_EQ(child.error().code, Code::kInternal);
  EXPECT_THAT(child.error().message, HasSubstr("cannot start /nowhere/to/be/found: No such file"));
}

}  // namespace
}  // namespace lastcall
