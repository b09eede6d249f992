#include "daemon/reload/preflight.h"

#include <poll.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <array>
#include <optional>
#include <thread>
#include <utility>

#include "lastcall/host/v1/host.pb.h"
#include "wire/channel.h"
#include "wire/configuration_message.h"

#include <lastcall/base/safe_text.h>
#include <lastcall/base/signal_name.h>
#include <lastcall/base/unique_fd.h>
#include <lastcall/child/child_process.h>

namespace lastcall {
namespace {

using host::v1::FromHost;
using host::v1::ToHost;

constexpr size_t kMostOutput = 4096;  // of what it writes, to be quoted

// About one plugin: both steps, and the result.
constexpr int kMostMessages = 3;
// What one message of it says, in bytes: a line for each key that its Check did not read.
constexpr size_t kMostBytes = 1 << 20;

struct Subject {
  const ServerConfig* server;
  const PluginSpec* plugin;

  std::string name() const {
    return "server \"" + server->name + "\", plugin \"" + plugin->name + "\": ";
  }
};

// One child, from its start to its end: it tries the subjects from `first` on.
class PreflightChild {
 public:
  PreflightChild(const std::vector<Subject>& subjects, size_t first, Duration limit, int stop_fd)
      : subjects_(subjects), first_(first), next_(first), limit_(limit), stop_fd_(stop_fd) {}

  // Blocks. Fails: it could not be started.
  Result<> Run(const std::string& program);
  // The first that it did not get to.
  size_t next() const { return next_; }
  PreflightReport& result() { return result_; }

 private:
  Result<> Start(const std::string& program);
  // False: it has ended, or has to be ended.
  bool Await();
  void ReadMessages();
  void Handle(const FromHost& message);
  void End();
  void Blame(const std::string& why, const std::string& said);

  const std::vector<Subject>& subjects_;
  const size_t first_;
  size_t next_;
  const Duration limit_;
  const int stop_fd_;

  std::optional<Channel> channel_;
  std::optional<ChildProcess> child_;
  std::string step_;  // of next_; empty: it is not being tried
  Instant due_ = kNever;
  int said_ = 0;         // of the plugin that is tried: a flood would put off the end forever
  bool spoke_ = false;   // of a plugin
  bool silent_ = false;  // it has closed its end of the channel
  bool hangs_ = false;
  bool broken_ = false;  // what it says is no message
  bool stopped_ = false;
  PreflightReport result_;
};

Result<> PreflightChild::Start(const std::string& program) {
  auto pair = Channel::Pair();
  if (!pair) return tl::unexpected(pair.error());
  auto child = ChildProcess::Start({.program = program,
                                    .arguments = {program, "--preflight"},
                                    .descriptors = {{pair->second.fd(), kControlFd}}},
                                   {.keep_output = kMostOutput});
  if (!child) return tl::unexpected(child.error());
  child_ = std::move(*child);
  channel_.emplace(std::move(pair->first));
  return {};
}

Result<> PreflightChild::Run(const std::string& program) {
  if (const auto started = Start(program); !started) return started;
  ToHost order;
  for (size_t i = next_; i < subjects_.size(); ++i) {
    host::v1::PluginOfServer& one = *order.mutable_preflight()->add_plugins();
    one.set_server(subjects_[i].server->name);
    const PluginSpec& plugin = *subjects_[i].plugin;
    *one.mutable_plugin() = PluginMessage(plugin.name, plugin.path, plugin.values);
  }
  due_ = After(std::chrono::steady_clock::now(), limit_);
  // A channel without room is one that nobody reads: its end is awaited all the same.
  channel_->TrySend(order);
  while (Await()) {
  }
  End();
  return {};
}

bool PreflightChild::Await() {
  std::array<pollfd, 4> events{{{silent_ ? -1 : channel_->fd(), POLLIN, 0},
                                {child_->output_fd(), POLLIN, 0},
                                {child_->exited_fd(), POLLIN, 0},
                                {stop_fd_, POLLIN, 0}}};
  poll(events.data(), events.size(), Deadline(due_).PollTimeout(std::chrono::steady_clock::now()));
  const bool exited = events[2].revents != 0;
  stopped_ = events[3].revents != 0;
  child_->ReadOutput();
  ReadMessages();  // which put its time off: what it said counts, however late it is read
  hangs_ = Deadline(due_).Passed(std::chrono::steady_clock::now());
  return !exited && !stopped_ && !hangs_ && !broken_ && next_ < subjects_.size();
}

void PreflightChild::ReadMessages() {
  while (!silent_ && !broken_) {
    FromHost message;
    const auto admits = [](size_t bytes, size_t) { return bytes <= kMostBytes; };
    switch (channel_->TryReceive(message, nullptr, admits)) {
      case Channel::Received::kYes: Handle(message); break;
      case Channel::Received::kNothingYet: return;
      case Channel::Received::kClosed: silent_ = true; break;
      case Channel::Received::kMalformed:
      case Channel::Received::kRefused: broken_ = true; break;
    }
  }
}

// The plugin runs in that process, and could say anything.
void PreflightChild::Handle(const FromHost& message) {
  if (++said_ > kMostMessages) broken_ = true;
  const size_t about =
      first_ + (message.has_preflight_step() ? message.preflight_step().plugin()
                                             : message.preflight_result().plugin());
  if ((!message.has_preflight_step() && !message.has_preflight_result()) || about != next_ ||
      next_ >= subjects_.size()) {
    broken_ = true;
    return;
  }
  spoke_ = true;
  due_ = After(std::chrono::steady_clock::now(), limit_);
  if (message.has_preflight_step()) {
    step_ = SafeText(message.preflight_step().step());
    return;
  }
  const Subject& subject = subjects_[next_];
  if (!message.preflight_result().problem().empty()) {
    result_.problems.push_back({subject.plugin->location,
                                subject.name() + SafeText(message.preflight_result().problem())});
  }
  for (const std::string& warning : message.preflight_result().warnings()) {
    result_.warnings.push_back(subject.name() + SafeText(warning));
  }
  for (const std::string& key : message.preflight_result().unchecked()) {
    result_.warnings.push_back(SafeText(key));
  }
  step_.clear();
  said_ = 0;
  ++next_;
}

void PreflightChild::End() {
  const ChildEnd end = child_->Finish();  // with whatever the plugins have started
  if (stopped_ || next_ >= subjects_.size()) return;
  const std::string how = end.status.signal != 0
                              ? "by " + SignalName(end.status.signal)
                              : "with exit code " + std::to_string(end.status.code);
  const std::string said = end.output.Line();
  if (!spoke_ && !hangs_) {
    result_.failures.push_back("lastcall-host --preflight ended " + how +
                               (said.empty() ? "" : ": " + said));
  } else if (hangs_) {
    Blame("has not returned after " + FormatDuration(limit_) + " ([reload] ready)", said);
  } else if (broken_) {
    Blame("writes into descriptor 3, which belongs to lastcall-host", said);
  } else {
    Blame("ended the process " + how, said);
  }
}

void PreflightChild::Blame(const std::string& why, const std::string& said) {
  const Subject& subject = subjects_[next_++];
  result_.problems.push_back(
      {subject.plugin->location,
       subject.name() + (step_.empty() ? "trying it" : step_) + " " + why +
           (said.empty() ? "" : ", and said last: " + said) +
           "; that was in a throw-away child, the daemon would lose its process. Fix " +
           subject.plugin->path});
}

void Append(const PreflightReport& from, PreflightReport& to) {
  const auto append = [](const auto& more, auto& all) {
    all.insert(all.end(), more.begin(), more.end());
  };
  append(from.problems, to.problems);
  append(from.warnings, to.warnings);
  append(from.failures, to.failures);
}

// A child for all plugins of a process; where one ends it, another for those behind it.
PreflightReport TryProcess(const std::vector<Subject>& subjects, Duration limit,
                           const std::string& host_program, int stop_fd) {
  PreflightReport result;
  pollfd stopped{stop_fd, POLLIN, 0};
  for (size_t next = 0; next < subjects.size() && poll(&stopped, 1, 0) == 0;) {
    PreflightChild child(subjects, next, limit, stop_fd);
    if (const auto run = child.Run(host_program); !run) {
      result.failures.push_back(run.error().message);
      break;
    }
    next = child.next();
    Append(child.result(), result);
    if (!result.failures.empty()) break;
  }
  return result;
}

std::vector<Subject> SubjectsOf(const Config& config, const std::string& process) {
  std::vector<Subject> subjects;
  for (const ServerConfig& server : config.servers) {
    if (server.process != process) continue;
    for (const PluginSpec& plugin : server.plugins) subjects.push_back({&server, &plugin});
  }
  return subjects;
}

}  // namespace

Duration LongestPreflight(const Config& config) {
  int64_t steps = 1;  // to start the child
  // Of each both its steps, and another child for those behind it.
  for (const ServerConfig& server : config.servers) steps += 3 * std::ssize(server.plugins);
  return config.ready > kForever / steps ? kForever : config.ready * steps;
}

PreflightReport TryPlugins(const Config& config, const std::vector<std::string>& processes,
                           const std::string& host_program, const std::stop_token& stop) {
  const UniqueFd stop_fd(eventfd(0, EFD_CLOEXEC));
  const std::stop_callback tell(stop, [&] { eventfd_write(stop_fd.get(), 1); });
  // Side by side: they take the longest time, not the sum.
  std::vector<PreflightReport> results(processes.size());
  std::vector<std::jthread> threads;
  for (size_t i = 0; i < processes.size(); ++i) {
    threads.emplace_back([&, i] {
      results[i] =
          TryProcess(SubjectsOf(config, processes[i]), config.ready, host_program, stop_fd.get());
    });
  }
  threads.clear();
  PreflightReport all;
  if (stop.stop_requested()) all.failures.push_back("there was no time for it");
  for (const PreflightReport& one : results) Append(one, all);
  return all;
}

}  // namespace lastcall
