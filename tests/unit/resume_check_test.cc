// What a build of lastcalld has to do to be let in, with shells in the place of those that fail.
#include "daemon/handover/resume_check.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <boost/asio/post.hpp>

#include <cerrno>
#include <csignal>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <lastcall/child/spawn.h>

namespace lastcall {
namespace {

using namespace std::chrono_literals;
using testing::AllOf;
using testing::EndsWith;
using testing::HasSubstr;
using testing::Lt;
using testing::SizeIs;
using testing::StartsWith;

constexpr char kProgram[] = "/opt/lastcalld";

// A line from the new build, and whether anybody of it is alive.
class Sign {
 public:
  Sign() {
    int ends[2];
    EXPECT_EQ(pipe(ends), 0);
    fcntl(ends[0], F_SETFD, FD_CLOEXEC);
    reading_.Reset(ends[0]);
    writing_.Reset(ends[1]);
  }

  std::string end() const { return "/dev/fd/" + std::to_string(writing_.get()); }
  // Blocks: until there is one. Order: after the start of those who have the other end.
  std::string AwaitLine() {
    writing_.Reset();
    std::string line;
    for (char each = 0; read(reading_.get(), &each, 1) == 1 && each != '\n';) line += each;
    return line;
  }
  // Blocks: until nobody is alive.
  void AwaitDeath() { EXPECT_EQ(AwaitLine(), ""); }

 private:
  UniqueFd reading_;
  UniqueFd writing_;
};

class ResumeCheckTest : public testing::Test {
 protected:
  void Begin(const std::string& binary, std::vector<std::string> arguments, Duration limit,
             const std::vector<int>& descriptors = {}) {
    binary_.Reset(open(binary.c_str(), O_RDONLY | O_CLOEXEC));
    check_ =
        std::make_unique<ResumeCheck>(loop_, ProgramImage{kProgram, std::move(arguments)}, limit);
    check_->Begin(binary_.get(), state::v1::State(), descriptors, [this](Result<> result) {
      EXPECT_FALSE(answer_) << "a second answer";
      answer_ = std::move(result);
      check_.reset();
    });
    EXPECT_FALSE(answer_) << "it answers from the loop";
  }
  void BeginShell(const std::string& script, Duration limit = 1h,
                  const std::vector<int>& descriptors = {}) {
    Begin("/bin/sh", {"sh", "-c", script}, limit, descriptors);
  }

  Result<> Answer() {
    loop_.run();
    EXPECT_TRUE(answer_);
    return answer_.value_or(Result<>());
  }
  Error Refusal() {
    const Result<> answer = Answer();
    EXPECT_FALSE(answer);
    return answer ? Error{} : answer.error();
  }
  // Of a build that says something in the place of its word.
  Result<> AnswerTo(const std::string& wish) {
    Begin(LASTCALL_NEW_BUILD, {"lastcalld", wish}, 1h);
    return Answer();
  }

  boost::asio::io_context loop_;
  UniqueFd binary_;
  std::unique_ptr<ResumeCheck> check_;
  std::optional<Result<>> answer_;
};

TEST_F(ResumeCheckTest, ABuildThatSaysItsWordIsLetIn) { EXPECT_TRUE(AnswerTo("word")); }

class ResumeWordTest : public ResumeCheckTest, public testing::WithParamInterface<const char*> {};

TEST_P(ResumeWordTest, AnotherWordIsRefused) {
  const Result<> answer = AnswerTo(GetParam());
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code, Code::kAborted);
  EXPECT_THAT(answer.error().message,
              StartsWith("/opt/lastcalld is another build, which cannot take over: it did not "
                         "prove that it is a lastcalld"));
}

INSTANTIATE_TEST_SUITE_P(Words, ResumeWordTest, testing::Values("more", "less", "other"));

TEST_F(ResumeCheckTest, AProgramThatSaysNothingIsRefused) {
  BeginShell("exit 0");
  EXPECT_THAT(Refusal().message, HasSubstr("it did not prove that it is a lastcalld"));
}

TEST_F(ResumeCheckTest, ABuildThatRefusesTheConfigurationIsQuoted) {
  BeginShell("echo lastcalld.toml:1: one; echo lastcalld.toml:7: two >&2; exit 78");
  const Error error = Refusal();
  EXPECT_EQ(error.code, Code::kInvalidArgument);
  EXPECT_EQ(error.message, "lastcalld.toml:1: one\nlastcalld.toml:7: two");
}

TEST_F(ResumeCheckTest, ABuildThatFailsIsQuotedWithItsExitCode) {
  BeginShell("echo out of luck; exit 3");
  const Error error = Refusal();
  EXPECT_EQ(error.code, Code::kAborted);
  EXPECT_EQ(error.message,
            "/opt/lastcalld is another build, which cannot take over: exit code 3: out of luck; "
            "install a working binary, or the old one");
}

TEST_F(ResumeCheckTest, ABuildThatDiesNamesItsSignal) {
  BeginShell("kill -SEGV $$");
  EXPECT_EQ(Refusal().message,
            "/opt/lastcalld is another build, which cannot take over: killed by SIGSEGV; "
            "install a working binary, or the old one");
}

// The loop sees the time pass when the new build has said that it is there.
TEST_F(ResumeCheckTest, ABuildThatHangsIsKilledWithItsGroup) {
  Sign sign;
  BeginShell("echo waiting; sh -c 'echo here >" + sign.end() + "; exec sleep 1000' & wait", 1ms);
  EXPECT_EQ(sign.AwaitLine(), "here");
  EXPECT_EQ(Refusal().message,
            "/opt/lastcalld is another build, which cannot take over: it took longer than 1ms: "
            "waiting; install a working binary, or the old one");
  sign.AwaitDeath();
}

TEST_F(ResumeCheckTest, WhoIsLeftBehindIsKilled) {
  Sign sign;
  BeginShell("sleep 1000 & exit 3");
  EXPECT_THAT(Refusal().message, HasSubstr("exit code 3"));
  sign.AwaitDeath();
}

TEST_F(ResumeCheckTest, AFloodOfWordsHoldsNothingUpAndIsCut) {
  BeginShell("head -c 1000000 /dev/zero | tr '\\0' x; echo; echo the last; exit 3");
  EXPECT_THAT(Refusal().message,
              AllOf(HasSubstr("exit code 3: …\nthe last; install"), SizeIs(Lt(9000u))));
}

TEST_F(ResumeCheckTest, AnEndlessFloodIsEndedByTheLimit) {
  Sign sign;
  BeginShell("yes | { head -c 60000; echo here >" + sign.end() + "; exec cat; }", 1ms);
  EXPECT_EQ(sign.AwaitLine(), "here");
  EXPECT_THAT(Refusal().message, HasSubstr("it took longer than 1ms: …\ny\ny\n"));
  sign.AwaitDeath();
}

// The loop finds both in the same look; its answer destroys the check.
TEST_F(ResumeCheckTest, AnEndAndTheLimitTogetherAreOneAnswer) {
  Sign sign;
  BeginShell("echo $$ >" + sign.end() + "; exit 3", 0s);
  siginfo_t info{};
  const auto pid = static_cast<id_t>(std::stoi(sign.AwaitLine()));
  ASSERT_EQ(waitid(P_PID, pid, &info, WEXITED | WNOWAIT), 0);
  EXPECT_EQ(Refusal().code, Code::kAborted);
}

TEST_F(ResumeCheckTest, WordsAreMadeSafe) {
  BeginShell("printf 'red: \\033[31m\\377\\n'; exit 3");
  EXPECT_THAT(Refusal().message, HasSubstr("exit code 3: red: \\x1b[31m\\xff; install"));
}

TEST_F(ResumeCheckTest, WhatMattersIsASocketThatLeadsNowhere) {
  int ends[2];
  ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
  const UniqueFd reading(ends[0]), writing(ends[1]);
  BeginShell("test -S /dev/fd/" + std::to_string(ends[1]) + " && exit 3; exit 4", 1h, {ends[1]});
  EXPECT_THAT(Refusal().message, HasSubstr("exit code 3"));
}

TEST_F(ResumeCheckTest, ABuildThatDoesNotStartIsSaidLater) {
  Begin("/dev/null", {"lastcalld"}, 1h);
  const Error error = Refusal();
  EXPECT_EQ(error.code, Code::kAborted);
  EXPECT_THAT(
      error.message,
      AllOf(StartsWith("/opt/lastcalld is another build, which does not start: cannot start "
                       "lastcalld: "),
            EndsWith("; install a working binary, or the old one")));
}

TEST_F(ResumeCheckTest, OneThatIsDestroyedBeforeTheEndKillsAndDoesNotAnswer) {
  Sign sign;
  BeginShell("echo $$ >" + sign.end() + "; exec sleep 1000", 1ms);
  const pid_t pid = std::stoi(sign.AwaitLine());
  check_.reset();
  sign.AwaitDeath();
  siginfo_t info{};
  EXPECT_EQ(waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOWAIT), 0);
  EXPECT_EQ(ReapOrphan(), pid);  // as the daemon does, whom SIGCHLD tells
  loop_.run();
  EXPECT_FALSE(answer_);
}

// What its waits have found is in the loop's queue already.
TEST_F(ResumeCheckTest, OneThatIsDestroyedWithItsEndInTheQueueDoesNotAnswer) {
  Sign sign;
  BeginShell("echo $$; echo $$ >" + sign.end() + "; exit 3", 0s);
  const pid_t pid = std::stoi(sign.AwaitLine());
  siginfo_t info{};
  EXPECT_EQ(waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOWAIT), 0);
  boost::asio::post(loop_, [this] { check_.reset(); });
  loop_.run();
  EXPECT_FALSE(answer_);
  EXPECT_EQ(ReapOrphan(), pid);
}

TEST_F(ResumeCheckTest, OneThatDoesNotStartAndIsDestroyedDoesNotAnswer) {
  Begin("/dev/null", {"lastcalld"}, 1h);
  check_.reset();
  loop_.run();
  EXPECT_FALSE(answer_);
}

TEST_F(ResumeCheckTest, OneThatHasNotBegunIsNobodysEnd) {
  check_ = std::make_unique<ResumeCheck>(loop_, ProgramImage{kProgram, {"lastcalld"}}, 1h);
  check_.reset();
  loop_.run();
  EXPECT_FALSE(answer_);
}

}  // namespace
}  // namespace lastcall
