// Who asked: what a process is called, and what is made of it.
#include <lastcall/lifecycle/cause.h>

#include <gtest/gtest.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <string>

namespace lastcall {
namespace {

// This process under another name, for as long as this lives.
class Named {
 public:
  explicit Named(const std::string& name) : before_(CommandOf(getpid())) {
    prctl(PR_SET_NAME, name.c_str());
  }
  ~Named() { prctl(PR_SET_NAME, before_.c_str()); }

 private:
  const std::string before_;
};

TEST(CommandTest, IsSafeText) {
  const struct {
    std::string name, shown;
  } cases[] = {
      {"kill", "kill"},
      {"остановить.sh", "останов\\xd0"},  // cut by the kernel
      {"a\nb", "a\\nb"},
      {"a\n", "a\\n"},
      {"\x1b[31m\u009b", "\\x1b[31m\\u009b"},
      {"", ""},
  };
  for (const auto& each : cases) {
    const Named named(each.name);
    EXPECT_EQ(CommandOf(getpid()), each.shown);
  }
}

// It may end between the opening of its file and the reading of it.
TEST(CommandTest, OfAProcessThatEndsMeanwhileIsEmpty) {
  const auto before = std::signal(SIGCHLD, SIG_IGN);  // nobody has to wait for them
  for (int round = 0; round < 500; ++round) {
    const pid_t child = fork();
    if (child == 0) _exit(0);
    std::string command;
    do {
      ASSERT_NO_THROW(command = CommandOf(child));
    } while (!command.empty());
  }
  std::signal(SIGCHLD, before);
}

TEST(CauseTest, ItsTextsAreMadeSafe) {
  const Cause cause = MadeSafe({.kind = Cause::Kind::kPlugin, .who = "a\xff", .reason = "b\nc"});
  EXPECT_EQ(Describe(cause), "plugin a\\xff: b\\nc");
}

}  // namespace
}  // namespace lastcall
