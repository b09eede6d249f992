#include "lastcall/host/process_audit.h"

#include <dirent.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <set>
#include <utility>
#include <vector>

#include "lastcall/base/signal_name.h"
#include "lastcall/lifecycle/cause.h"
#include "lastcall/signals/signals.h"
#include "lastcall/threads/symbols.h"

namespace lastcall {
namespace {

// So many looks at a thread see what it does at its start.
constexpr int kLooksAtAThread = 3;

// Ignored by Lastcall; the others of its table are blocked.
bool IsLastcalls(int signal) {
  return signal == SIGPIPE ||
         std::find(kHandledSignals.begin(), kHandledSignals.end(), signal) != kHandledSignals.end();
}

// Every signal that a plugin could take. Not SIGRTMAX - 1: stack.cc installs it when it is needed.
std::map<int, struct sigaction> Handlers() {
  std::map<int, struct sigaction> handlers;
  for (int signal = 1; signal < SIGRTMAX - 1; ++signal) {
    struct sigaction action {};
    if (sigaction(signal, nullptr, &action) == 0) handlers[signal] = action;
  }
  return handlers;
}

std::vector<pid_t> Threads() {
  std::vector<pid_t> ids;
  const std::unique_ptr<DIR, int (*)(DIR*)> tasks(opendir("/proc/self/task"), &closedir);
  while (const dirent* entry = tasks != nullptr ? readdir(tasks.get()) : nullptr) {
    if (const pid_t id = std::atoi(entry->d_name); id > 0) ids.push_back(id);
  }
  return ids;
}

std::string FolderOf(pid_t thread) { return "/proc/self/task/" + std::to_string(thread); }

// Those of the table that the thread does not block; a thread that has just ended blocks all.
std::vector<int> OpenIn(pid_t thread) {
  if (CommandOf(thread) == kSignalReaderThread) return {};
  std::ifstream status(FolderOf(thread) + "/status");
  constexpr std::string_view kKey = "SigBlk:";
  for (std::string line; std::getline(status, line);) {
    if (!line.starts_with(kKey)) continue;
    const uint64_t blocked = std::strtoull(line.c_str() + kKey.size(), nullptr, 16);
    std::vector<int> open;
    for (const int signal : kHandledSignals) {
      if ((blocked >> (signal - 1) & 1) == 0) open.push_back(signal);
    }
    return open;
  }
  return {};
}

// Ended, and kept for whoever asks for its exit code.
bool IsOver(pid_t child) {
  std::ifstream stat("/proc/" + std::to_string(child) + "/stat");
  std::string line;
  std::getline(stat, line);
  const size_t state = line.rfind(')') + 2;  // of npos: beyond no line
  return line.size() <= state || line[state] == 'Z' || line[state] == 'X';
}

// Which is known at once; who they are, from the list of each thread alone.
bool HasChildren() {
  siginfo_t ignored{};
  constexpr int kAny = WEXITED | WNOHANG | WNOWAIT | __WALL;
  return waitid(P_ALL, 0, &ignored, kAny) == 0 || errno != ECHILD;
}

std::set<pid_t> Children() {
  std::set<pid_t> children;
  if (!HasChildren()) return children;
  for (const pid_t thread : Threads()) {
    std::ifstream list(FolderOf(thread) + "/children");
    for (pid_t child = 0; list >> child;) {
      if (!IsOver(child)) children.insert(child);
    }
  }
  return children;
}

std::string Enumerate(const std::vector<int>& signals) {
  std::string text;
  for (size_t i = 0; i < signals.size(); ++i) {
    if (i > 0) text += i + 1 == signals.size() ? " and " : ", ";
    text += SignalName(signals[i]);
  }
  return text;
}

std::string DescribeChild(pid_t child) {
  return "child process " + std::to_string(child) + " (" + CommandOf(child) + ")";
}

std::string DescribeHandler(const struct sigaction& action) {
  if (action.sa_handler == SIG_DFL) return "the default action";
  if (action.sa_handler == SIG_IGN) return "being ignored";
  return "a handler of its own, " + FunctionName(reinterpret_cast<void*>(action.sa_handler));
}

}  // namespace

ProcessAudit::ProcessAudit(Log log)
    : log_(std::move(log)), masked_(SignalsAreBlocked()), handlers_(Handlers()) {
  for (const pid_t thread : Threads()) {
    if (!OpenIn(thread).empty()) looks_[thread] = kLooksAtAThread;
  }
  for (const pid_t child : Children()) children_[child];
}

void ProcessAudit::Say(const std::string& who, const std::string& what) {
  log_(LogLevel::kWarning, who + " " + what);
}

void ProcessAudit::Inspect(const std::string& who) {
  CompareHandlers(who);
  if (masked_) CompareMasks(who);
  CompareChildren(who);
}

void ProcessAudit::InspectEnd(const std::string& who) {
  for (const pid_t child : Children()) {
    const auto known = children_.find(child);
    const std::string starter = known == children_.end() ? "a plugin" : known->second;
    if (starter != who && starter != "a plugin") continue;  // to be told at its own end
    Say(starter, "has left its " + DescribeChild(child) +
                     " behind, which may hold sockets of this process; end it in Stop()");
    children_[child].clear();
  }
}

void ProcessAudit::CompareHandlers(const std::string& who) {
  for (const auto& [signal, now] : Handlers()) {
    struct sigaction& before = handlers_[signal];
    if (now.sa_handler == before.sa_handler) continue;
    const std::string what = "has set " + SignalName(signal) + " to " + DescribeHandler(now);
    if (IsLastcalls(signal)) {
      sigaction(signal, &before, nullptr);
      Say(who, what +
                   "; it was put back, for the host reads that signal for the whole process. Wait "
                   "for the "
                   "end with PluginHost::termination()");
    } else {
      before = now;
      Say(who, what +
                   ", in a process that it may share; leave signals alone, or give its server a "
                   "process of its own (process = \"…\")");
    }
  }
}

void ProcessAudit::CompareMasks(const std::string& who) {
  const pid_t self = gettid();
  for (const pid_t thread : Threads()) {
    int& looks = looks_[thread];
    if (thread != self && looks == kLooksAtAThread) continue;
    const std::vector<int> open = OpenIn(thread);
    // What was said is not said again.
    looks = open.empty() ? std::min(looks + 1, kLooksAtAThread) : kLooksAtAThread;
    if (open.empty()) continue;
    const std::string what = "has unblocked " + Enumerate(open);
    if (thread == self) {
      BlockSignals();
      Say(who, what + " in the thread that made it; they were blocked again");
      continue;
    }
    Say(who,
        what + " in thread " + std::to_string(thread) + " (" + CommandOf(thread) +
            "), where that signal ends the process without its stages; leave the mask as it is");
  }
}

void ProcessAudit::CompareChildren(const std::string& who) {
  for (const pid_t child : Children()) {
    if (!children_.emplace(child, who).second) continue;
    Say(who,
        "has started the " + DescribeChild(child) +
            ", which is not supervised; a fork() without exec copies every connection of this "
            "process. Make it a process of its own ([process.X] command), or end it in Stop()");
  }
}

}  // namespace lastcall
