// The program lastcallctl itself: where it looks for the socket, what it says when nobody is there,
// and how it takes a command line.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <lastcall/base/runtime_dir.h>
#include <lastcall/base/unique_fd.h>
#include <poll.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "ctl_fake_admin.h"
#include "ctl_samples.h"
#include "exit_code.h"
#include "temp_folder.h"

namespace lastcall {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::StartsWith;

std::string Fingerprints(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

// What the C functions want: pointers, and null at the end.
std::vector<char*> Pointers(std::vector<std::string>& strings) {
  std::vector<char*> pointers;
  for (std::string& one : strings) pointers.push_back(one.data());
  pointers.push_back(nullptr);
  return pointers;
}

class ProgramTest : public testing::Test {
 protected:
  ProgramTest() {
    std::filesystem::create_directories(Path("xdg/lastcall"));
    std::filesystem::permissions(Path("xdg/lastcall"), std::filesystem::perms::owner_all);
  }

  std::string Path(const std::string& name) const { return folder_ / name; }

  // A daemon that says it has this pid.
  FakeAdmin& StartDaemon(const std::string& name, int pid) {
    daemons_.push_back(std::make_unique<FakeAdmin>(Path(name)));
    daemons_.back()->status = ServingStatus();
    daemons_.back()->status.set_pid(pid);
    return *daemons_.back();
  }

  // The exit code; 128 + signal when one killed it.
  int Run(std::vector<std::string> arguments, std::vector<std::string> environment = {}) {
    arguments.insert(arguments.begin(), "lastcallctl");
    for (const char* sanitizer : {"ASAN_OPTIONS", "LSAN_OPTIONS", "TSAN_OPTIONS"}) {
      if (const char* const value = getenv(sanitizer)) {
        environment.push_back(std::string(sanitizer) + "=" + value);
      }
    }
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    const int flags = O_WRONLY | O_CREAT | O_TRUNC;
    posix_spawn_file_actions_addopen(&actions, 0, stdin_.c_str(), O_RDONLY | O_NOCTTY, 0);
    posix_spawn_file_actions_addopen(&actions, 1, stdout_.c_str(), flags, 0600);
    posix_spawn_file_actions_addopen(&actions, 2, stderr_.c_str(), flags | O_NOCTTY, 0600);
    pid_t pid = 0;
    EXPECT_EQ(::posix_spawn(&pid, LASTCALLCTL, &actions, nullptr, Pointers(arguments).data(),
                            Pointers(environment).data()),
              0);
    posix_spawn_file_actions_destroy(&actions);
    int status = 0;
    EXPECT_EQ(::waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }

  void UseStdin(const std::string& path) { stdin_ = path; }
  void UseStdout(const std::string& path) { stdout_ = path; }
  void UseStderr(const std::string& path) { stderr_ = path; }
  std::string out() const { return Fingerprints(stdout_); }
  std::string err() const { return Fingerprints(stderr_); }

 private:
  TempFolder folder_;
  std::string stdin_ = "/dev/null";
  std::string stdout_ = folder_ / "out";
  std::string stderr_ = folder_ / "err";
  std::vector<std::unique_ptr<FakeAdmin>> daemons_;
};

TEST_F(ProgramTest, SocketIsLookedUpInTheOrderOfTheContract) {
  StartDaemon("option.sock", 1);
  StartDaemon("xdg/lastcall/admin.sock", 2);
  StartDaemon("environment.sock", 3);
  const std::string xdg = "XDG_RUNTIME_DIR=" + Path("xdg");
  const std::string elsewhere = "XDG_RUNTIME_DIR=" + Path("no-such-folder");
  const std::string variable = "LASTCALL_SOCKET=" + Path("environment.sock");
  EXPECT_EQ(Run({"--socket", Path("option.sock"), "status", "--json"}, {xdg, variable}), 0);
  EXPECT_THAT(out(), HasSubstr(R"("pid":1,)"));
  // It was set on purpose.
  EXPECT_EQ(Run({"status", "--json"}, {xdg, variable}), 0);
  EXPECT_THAT(out(), HasSubstr(R"("pid":3,)"));
  EXPECT_EQ(Run({"status", "--json"}, {xdg}), 0);
  EXPECT_THAT(out(), HasSubstr(R"("pid":2,)"));
}

TEST_F(ProgramTest, SocketInADirectoryThatOthersMayWriteToIsPassedOver) {
  StartDaemon("xdg/lastcall/admin.sock", 2);
  std::filesystem::permissions(Path("xdg/lastcall"), std::filesystem::perms::all);
  Run({"status", "--json"}, {"XDG_RUNTIME_DIR=" + Path("xdg")});
  EXPECT_THAT(out(), Not(HasSubstr(R"("pid":2,)")));
}

TEST_F(ProgramTest, TheSystemsSocketIsTheLast) {
  if (std::filesystem::exists("/run/lastcall") ||
      !SocketInRuntimeDirs(nullptr, ::getuid()).empty()) {
    GTEST_SKIP() << "a daemon may run here";
  }
  EXPECT_EQ(Run({"status"}), kExitUnreachable);
  EXPECT_THAT(err(), HasSubstr("/run/lastcall/admin.sock (the default)"));
}

TEST_F(ProgramTest, UnreachableNamesThePathAndTheRemedy) {
  for (const char* verb : {"status", "servers", "watch", "shutdown", "config", "version"}) {
    EXPECT_EQ(Run({"--socket", Path("none.sock"), "--json", verb}), kExitUnreachable) << verb;
    EXPECT_THAT(out(), IsEmpty());
    EXPECT_THAT(err(), AllOf(StartsWith("lastcallctl: cannot reach lastcalld at "),
                             HasSubstr(Path("none.sock") + " (given by --socket): there is no"),
                             HasSubstr("systemctl start lastcalld")));
  }
}

TEST_F(ProgramTest, SocketThatWasLeftBehindIsUnreachable) {
  sockaddr_un address{.sun_family = AF_UNIX};
  std::strncpy(address.sun_path, Path("old.sock").c_str(), sizeof address.sun_path - 1);
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM, 0));
  ASSERT_EQ(::bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  fd.Reset();
  EXPECT_EQ(Run({"status"}, {"LASTCALL_SOCKET=" + Path("old.sock")}), kExitUnreachable);
  EXPECT_THAT(err(), HasSubstr("(given by LASTCALL_SOCKET): no process listens there"));
}

TEST_F(ProgramTest, SocketPathThatIsTooLong) {
  EXPECT_EQ(Run({"--socket", "/" + std::string(200, 'x'), "status"}), kExitUnreachable);
  EXPECT_THAT(err(), HasSubstr("at most 107 bytes"));
}

TEST_F(ProgramTest, MistakesOnTheCommandLine) {
  const std::vector<std::pair<std::vector<std::string>, std::string>> mistakes{
      {{}, "a verb is missing"},
      {{"statsu"}, "there is no verb \"statsu\"; did you mean \"status\"?"},
      {{"help"}, "there is no verb \"help\"; known are status, servers, "},
      {{"--jsno"}, "there is no option \"--jsno\"; did you mean \"--json\"?"},
      {{"status", "--jsno"}, "there is no option \"--jsno\"; did you mean \"--json\"?"},
      {{"shutdown", "--grcae=5s"}, "there is no option \"--grcae=5s\"; did you mean \"--grace\"?"},
      {{"status", "--xyzzy"}, "there is no option \"--xyzzy\"\n"},
      {{"status", "now"}, "\"status\" does not take \"now\""},
      {{"drain"}, "SERVER is required"},
      {{"log-level"}, "LEVEL is required"},
      {{"wait"}, "serving|stopped is required"},
      {{"wait", "forever"}, "\"forever\" is neither serving nor stopped"},
      {{"wait", "serving", "--no-wait"}, "contradict"},
      {{"--timeout"}, "--timeout"},
      {{"--timeout", "5", "status"}, "\"5\" is not a duration: the unit is missing"},
      {{"shutdown", "--grace", "-1s"}, "--grace"},
      {{"shutdown", "--wait", "--no-wait"}, "--wait excludes --no-wait"},
      {{"shutdown", "--wait", "--dry-run"}, "--dry-run excludes --wait"},
      {{"reload", "--wait", "--dry-run"}, "--dry-run excludes --wait"},
      {{"restart", "main", "--wait", "--no-wait"}, "--wait excludes --no-wait"},
      {{"calls", "--limit", "many"}, "--limit: \"many\" is not a number of calls"},
      {{"calls", "--limit", "-1"}, "\"-1\" is not a number of calls"},
      {{"calls", "--older", "5"}, "\"5\" is not a duration"},
      {{"calls", "--recent", "--limit", "5"}, "--limit excludes --recent"},
      {{"calls", "--recent", "--watch"}, "--watch excludes --recent"},
      {{"calls", "--recent", "--older", "5s"}, "--older excludes --recent"},
      {{"calls", "public"}, "\"calls\" does not take \"public\""},
      {{"call"}, "ID is required"},
      {{"call", "main/1/1", "main/1/2"}, "\"call\" does not take \"main/1/2\""},
      {{"cancel"}, "cancel what? Give IDs, or at least one of"},
      {{"cancel", "--reason", "why not", "--yes"}, "cancel what?"},
      {{"cancel", "main/1/1", "--older", "1m"}, "IDs, or options that say which calls, not both"},
      {{"cancel", "main/1/1", "--method", "*"}, "not both"},
      {{"cancel", "--server", "", "--older", "1m"}, "--server: it is empty"},
      {{"cancel", "--method", "", "--older", "1m"}, "--method: it is empty"},
      {{"cancel", "--peer", "", "--older", "1m"}, "--peer: it is empty"},
  };
  for (const auto& [arguments, message] : mistakes) {
    EXPECT_EQ(Run(arguments), kExitUsage) << message;
    EXPECT_THAT(out(), IsEmpty());
    EXPECT_THAT(err(), AllOf(StartsWith("lastcallctl: "), HasSubstr(message)));
  }
}

TEST_F(ProgramTest, NameOfVerbIsGoodAsNameOfServer) {
  EXPECT_EQ(Run({"--socket", Path("none.sock"), "drain", "status"}), kExitUnreachable);
}

TEST_F(ProgramTest, HelpAndVersionNeedNoDaemon) {
  EXPECT_EQ(Run({"--help"}), 0);
  EXPECT_THAT(out(), AllOf(HasSubstr("Exit codes: 0 done"), HasSubstr("shutdown"),
                           HasSubstr("--timeout DURATION"), Not(HasSubstr("SUBCOMMAND"))));
  EXPECT_THAT(out(), Not(HasSubstr("--wait --wait")));
  EXPECT_THAT(out(), AllOf(HasSubstr("\nVerbs:\n"), Not(HasSubstr("Subcommands"))));
  EXPECT_THAT(err(), IsEmpty());
  EXPECT_EQ(Run({"shutdown", "--help"}), 0);
  EXPECT_THAT(out(), HasSubstr("--delay DURATION"));
  EXPECT_EQ(Run({"--version"}), 0);
  EXPECT_THAT(out(), StartsWith("lastcallctl "));
}

TEST_F(ProgramTest, HelpFitsIntoAnOrdinaryTerminal) {
  for (const char* verb :
       {"", "status", "servers", "watch", "shutdown", "reload", "restart", "drain", "undrain",
        "calls", "call", "cancel", "wait", "config", "log-level", "version"}) {
    EXPECT_EQ(*verb == '\0' ? Run({"--help"}) : Run({verb, "--help"}), 0);
    std::istringstream lines(out());
    for (std::string line; std::getline(lines, line);) EXPECT_LE(line.size(), 80u) << line;
  }
}

TEST_F(ProgramTest, FullDiskIsNoSuccess) {
  StartDaemon("admin.sock", 1);
  UseStdout("/dev/full");
  EXPECT_EQ(Run({"--socket", Path("admin.sock"), "status"}), kExitFailed);
  EXPECT_EQ(err(), "lastcallctl: cannot write to stdout\n");
}

TEST_F(ProgramTest, APersonOnATerminalIsAskedBeforeCallsAreCancelled) {
  FakeAdmin& daemon = StartDaemon("admin.sock", 1);
  daemon.cancel_response.set_cancelled(12);
  const UniqueFd terminal(::posix_openpt(O_RDWR | O_NOCTTY));
  ASSERT_EQ(::grantpt(terminal.get()) | ::unlockpt(terminal.get()), 0);
  const std::string name = ::ptsname(terminal.get());
  const UniqueFd other_end(::open(name.c_str(), O_RDWR | O_NOCTTY));
  UseStdin(name);
  UseStderr(name);
  const auto answer = [&](const std::string& line) {
    EXPECT_EQ(::write(terminal.get(), line.data(), line.size()), static_cast<ssize_t>(line.size()));
    return Run({"--socket", Path("admin.sock"), "cancel", "--older", "1m"}, {"TERM=xterm"});
  };
  for (const char* no : {"n\n", "\n", "yes please\n"}) EXPECT_EQ(answer(no), kExitFailed) << no;
  EXPECT_EQ(daemon.cancel_requests().size(), 3u) << "they were counted";
  EXPECT_EQ(answer("y\n"), kExitDone);
  EXPECT_EQ(out(), "12 calls cancelled\n");
  EXPECT_EQ(answer("yes\n"), kExitDone);
  std::string shown(4096, '\0');
  shown.resize(std::max<ssize_t>(::read(terminal.get(), shown.data(), shown.size()), 0));
  EXPECT_THAT(shown, HasSubstr("Cancel 12 calls? [y/N] "));
}

TEST_F(ProgramTest, NobodyIsAskedWithoutATerminal) {
  FakeAdmin& daemon = StartDaemon("admin.sock", 1);
  EXPECT_EQ(Run({"--socket", Path("admin.sock"), "cancel", "--older", "1m"}), kExitUsage);
  EXPECT_THAT(err(), AllOf(StartsWith("lastcallctl: nobody can be asked here"),
                           HasSubstr("give --yes"), HasSubstr("--dry-run")));
  EXPECT_THAT(daemon.asked(), IsEmpty());
}

TEST_F(ProgramTest, FilesGetNoColours) {
  StartDaemon("admin.sock", 1);
  EXPECT_EQ(Run({"--socket", Path("admin.sock"), "status"}, {"TERM=xterm"}), 0);
  EXPECT_THAT(out(), Not(HasSubstr("\x1b")));
}

TEST_F(ProgramTest, TerminalsGetColoursUnlessTheyAreUnwanted) {
  StartDaemon("admin.sock", 1);
  const UniqueFd terminal(::posix_openpt(O_RDWR | O_NOCTTY));
  ASSERT_EQ(::grantpt(terminal.get()) | ::unlockpt(terminal.get()), 0);
  UseStdout(::ptsname(terminal.get()));
  // Keeps what was written readable once the program has ended.
  const UniqueFd other_end(::open(::ptsname(terminal.get()), O_RDWR | O_NOCTTY));
  const auto shown = [&](const std::vector<std::string>& environment) {
    EXPECT_EQ(Run({"--socket", Path("admin.sock"), "status"}, environment), 0);
    // A terminal hands on what it was given in parts; it is whole when this mark is there.
    EXPECT_EQ(::write(other_end.get(), "\x04", 1), 1);
    std::string text;
    pollfd more{terminal.get(), POLLIN, 0};
    while (!text.ends_with('\x04') && ::poll(&more, 1, 10'000) == 1) {
      char part[4096];
      text.append(part, std::max<ssize_t>(::read(terminal.get(), part, sizeof part), 0));
    }
    return text;
  };
  EXPECT_THAT(shown({"TERM=xterm"}), HasSubstr("\x1b[32mserving\x1b[0m"));
  EXPECT_THAT(shown({"TERM=xterm", "NO_COLOR=1"}),
              AllOf(HasSubstr("serving"), Not(HasSubstr("\x1b"))));
  EXPECT_THAT(shown({"TERM=dumb"}), AllOf(HasSubstr("serving"), Not(HasSubstr("\x1b"))));
}

}  // namespace
}  // namespace lastcall
