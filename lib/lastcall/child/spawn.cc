#include "lastcall/child/spawn.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <mutex>
#include <set>
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

// Those whose end somebody here is to hear of. A process has one set of children, whichever thread
// started them, hence the global.
struct OwnedChildren {
  std::mutex mutex;
  std::set<pid_t> pids;
  int spawning = 0;  // children that may exist and are not in the set
};

OwnedChildren& Owned() {
  static auto* const owned = new OwnedChildren;
  return *owned;
}

// Has ReapOrphan called again, where it could not see what there is.
void LookAgain() { kill(getpid(), SIGCHLD); }

// Nothing is taken for an orphan meanwhile. The lock is not held, for a program may be on a file
// system that hangs.
class Spawning {
 public:
  Spawning() {
    const std::lock_guard lock(Owned().mutex);
    ++Owned().spawning;
  }
  ~Spawning() {
    {
      const std::lock_guard lock(Owned().mutex);
      --Owned().spawning;
    }
    LookAgain();
  }
};

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
  posix_spawnattr_setflags(attributes.get(),
                           POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
  const auto environment = ChildEnvironment(command.environment);
  Child child;
  const Spawning spawning;
  const int error = posix_spawn(&child.pid, program.c_str(), actions.get(), attributes.get(),
                                Pointers(command.arguments).data(), Pointers(environment).data());
  if (error != 0) return FailErrno("cannot start " + SafeText(command.arguments.front()), error);
  child.pidfd.Reset(static_cast<int>(syscall(SYS_pidfd_open, child.pid, 0)));
  if (!child.pidfd) {
    const int why = errno;
    kill(child.pid, SIGKILL);
    waitpid(child.pid, nullptr, 0);
    return FailErrno("cannot watch " + SafeText(command.arguments.front()), why);
  }
  Adopt(child.pid);
  return child;
}

void Adopt(pid_t child) {
  const std::lock_guard lock(Owned().mutex);
  Owned().pids.insert(child);
}

void Disown(pid_t child) {
  {
    const std::lock_guard lock(Owned().mutex);
    Owned().pids.erase(child);
  }
  LookAgain();
}

ExitStatus WaitForExit(pid_t child) {
  const auto id = static_cast<id_t>(child);
  siginfo_t info{};
  while (waitid(P_PID, id, &info, WEXITED | WNOWAIT) != 0 && errno == EINTR) {
  }
  {
    // Its number may be another child's as soon as it is free; that one is put into the set later.
    const std::lock_guard lock(Owned().mutex);
    waitid(P_PID, id, &info, WEXITED | WNOHANG);
    Owned().pids.erase(child);
  }
  LookAgain();
  const bool by_itself = info.si_code == CLD_EXITED;
  return {.code = by_itself ? info.si_status : 0, .signal = by_itself ? 0 : info.si_status};
}

std::optional<pid_t> ReapOrphan() {
  const std::lock_guard lock(Owned().mutex);
  if (Owned().spawning > 0) return std::nullopt;
  siginfo_t info{};
  // The kernel shows one that has ended, and the same again until it is waited for.
  if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) != 0 || info.si_pid == 0) {
    return std::nullopt;
  }
  const pid_t child = info.si_pid;
  if (Owned().pids.contains(child)) return std::nullopt;
  waitid(P_PID, static_cast<id_t>(child), &info, WEXITED | WNOHANG);
  return child;
}

}  // namespace lastcall
