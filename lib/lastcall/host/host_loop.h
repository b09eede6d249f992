// The inside of Host: one thread that everything is told to.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include <lastcall/base/log_queue.h>
#include <lastcall/event/end_in_time.h>
#include <lastcall/event/inbox.h>
#include <lastcall/host/commons.h>
#include <lastcall/host/host.h>
#include <lastcall/host/plugin_thread.h>
#include <lastcall/host/site.h>

namespace lastcall {

// Everything becomes an event in the inbox; the thread in Run reads it, and it alone touches what is
// below. Methods named On… run there.
class HostLoop {
 public:
  explicit HostLoop(HostOptions options);
  // Blocks: until a call of the log that runs has returned; see Host.
  ~HostLoop();

  void Add(HostServer server) { sites_.push_back(std::make_unique<Site>(std::move(server))); }
  void Post(std::function<void()> event) { inbox_.Post(std::move(event)); }
  Termination termination() const { return termination_.view(); }
  const Receipt& receipt() const { return receipt_; }
  const Clock& clock() const { return clock_; }

  int Run();
  void OnRequest(Request request);
  void OnAdopt(const Plan& plan, std::vector<Ledger::Entry> entries, Host::Succession succession);
  void OnAccepting(bool accepting);
  void OnDraining(const std::string& server, bool draining);
  HostReport Report();
  void OnDump();

 private:
  void OnSignal(const ReceivedSignal& signal);
  void OnStarted(const Result<>& started);
  void OnStartOverdue();
  void OnRetired();
  void OnPluginsStopped();

  void Apply(const Lifecycle::Changes& changes);
  void Enter(const Lifecycle::Change& change);
  void EnterGrace();
  void EnterCancel();
  void EnterStopped();
  void FirstRequest();
  void Run(const std::function<void()>& event);
  void StartSites();
  void RefuseStart(const Error& error, std::optional<Duration> cancel);
  void BeginRetire(const Farewell& farewell);
  void StopPlugins();
  void UpdateHealth();
  void ListCancelled();
  void ListStuck();
  template <class F>
  void ForEachServer(F action);
  int64_t InFlight();
  uint64_t Ended();
  Instant QuietAt();
  Instant StartDueAt() const;
  void Say(LogLevel level, const std::string& message) { log_(level, message); }

  const SteadyClock clock_;
  const HostOptions options_;
  HostObserver& observer_;
  const LogQueue log_;
  EndInTime end_in_time_;
  Inbox<std::function<void()>> inbox_;
  TerminationSource termination_;
  SignalTable signal_table_;
  Lifecycle lifecycle_;
  std::vector<std::unique_ptr<Site>> sites_;  // the plugin thread's while it starts and stops them
  std::optional<Commons> commons_;            // the plugin thread's
  std::atomic<bool> abandon_start_{false};
  bool started_ = false;  // the plugin thread is done with starting
  bool stopping_plugins_ = false;
  bool may_accept_ = false;
  bool replaced_ = false;           // stopping, for a successor has taken over
  std::set<std::string> unserved_;  // addresses; see Host::Succession
  bool retiring_ = false;
  size_t not_retired_ = 0;
  std::optional<Error> start_error_;
  uint64_t ended_before_ = 0;  // calls that had ended when the first request came
  Receipt receipt_;
  PluginThread plugin_thread_{clock_};
};

// The exit code of a host that could not start.
int ExitCodeFor(const Error& error);

}  // namespace lastcall
