#include "daemon/spawn.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <string_view>

#include <lastcall/base/safe_text.h>

namespace lastcall {
namespace {

class Actions {
 public:
  Actions() { posix_spawn_file_actions_init(&actions_); }
  ~Actions() { posix_spawn_file_actions_destroy(&actions_); }
  posix_spawn_file_actions_t* get() { return &actions_; }

 private:
  posix_spawn_file_actions_t actions_;
};

class Attributes {
 public:
  Attributes() { posix_spawnattr_init(&attributes_); }
  ~Attributes() { posix_spawnattr_destroy(&attributes_); }
  posix_spawnattr_t* get() { return &attributes_; }

 private:
  posix_spawnattr_t attributes_;
};

// What systemd told this process alone: see sd_notify(3), sd_watchdog_enabled(3), sd_listen_fds(3).
constexpr std::array<std::string_view, 6> kOurs{"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID",
                                                "LISTEN_FDS",    "LISTEN_PID",    "LISTEN_FDNAMES"};

std::vector<std::string> ChildEnvironment(std::vector<std::string> entries) {
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text(*entry);
    const std::string_view name = text.substr(0, text.find('='));
    if (std::find(kOurs.begin(), kOurs.end(), name) == kOurs.end()) entries.emplace_back(text);
  }
  return entries;
}

}  // namespace

std::vector<char*> Pointers(const std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  for (const std::string& text : texts) pointers.push_back(const_cast<char*>(text.c_str()));
  pointers.push_back(nullptr);
  return pointers;
}

Result<Child> Spawn(const Command& command) {
  const std::string& program = command.program;
  Actions actions;
  posix_spawn_file_actions_addopen(actions.get(), STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  for (const Descriptor& one : command.descriptors) {
    // Also where both are the same: then it only stays open in the child.
    posix_spawn_file_actions_adddup2(actions.get(), one.ours, one.theirs);
  }
  Attributes attributes;
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  posix_spawnattr_setsigmask(attributes.get(), &none);
  posix_spawnattr_setsigdefault(attributes.get(), &all);
  posix_spawnattr_setpgroup(attributes.get(), 0);
  posix_spawnattr_setflags(attributes.get(), POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF |
                                                 POSIX_SPAWN_SETPGROUP);
  const auto environment = ChildEnvironment(command.environment);
  Child child;
  const int error =
      posix_spawn(&child.pid, program.c_str(), actions.get(), attributes.get(),
                  Pointers(command.arguments).data(), Pointers(environment).data());
  if (error != 0) return FailErrno("cannot start " + SafeText(command.arguments.front()), error);
  child.pidfd.Reset(static_cast<int>(syscall(SYS_pidfd_open, child.pid, 0)));
  if (!child.pidfd) {
    const int why = errno;
    kill(child.pid, SIGKILL);
    waitpid(child.pid, nullptr, 0);
    return FailErrno("cannot watch " + SafeText(command.arguments.front()), why);
  }
  return child;
}

}  // namespace lastcall
