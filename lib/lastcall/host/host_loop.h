// The inside of Host: its servers and plugins, as the part of a StageLoop.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include <lastcall/host/call_inspector.h>
#include <lastcall/host/host.h>
#include <lastcall/host/hosted_server.h>
#include <lastcall/host/plugin_thread.h>
#include <lastcall/host/process_audit.h>
#include <lastcall/program/stage_loop.h>
#include <lastcall/rpc/prober.h>

namespace lastcall {

// Only the thread in Run touches what is below. Methods named On… run there.
class HostLoop final : private StagePart {
 public:
  explicit HostLoop(HostOptions options);

  void Add(HostServer server) {
    hosted_.push_back(std::make_unique<HostedServer>(std::move(server)));
  }
  void Post(std::function<void()> event) { loop_.Post(std::move(event)); }
  Termination termination() const { return loop_.termination(); }
  const Receipt& receipt() const { return loop_.receipt(); }
  const Clock& clock() const { return clock_; }
  CallInspector& inspector() { return inspector_; }

  int Run();
  void OnRequest(Request request) { loop_.OnRequest(std::move(request)); }
  void OnAdopt(const Plan& plan, std::vector<Ledger::Entry> entries, Host::Succession succession);
  void OnAccepting(bool accepting);
  void OnDraining(const std::string& server, bool draining);
  HostReport Report();
  void OnDump() { Dump(); }

 private:
  void FirstRequest() override;
  void Entering(const Lifecycle::Change& change) override;
  void Entered(const Lifecycle::Change& change) override;
  bool idle() const override { return retiring_ && not_retired_ == 0; }
  bool done() const override { return plugins_stopped_; }
  Instant last_began() const override;
  Instant due() const override;
  void OnDue() override;
  void AddTo(Receipt& receipt, bool ran_out) override;
  void Finished(Receipt& receipt) override;
  void Dump() override;

  void OnStarted(const Result<>& started);
  void OnRetired();

  void EnterGrace();
  void EnterCancel();
  void StartServers();
  void RefuseStart(const Error& error, std::optional<Duration> cancel);
  void BeginRetire(const RetireOptions& how);
  void InspectCalls();
  void StopPlugins();
  void UpdateHealth();
  void ListCancelled();
  void ListStuck(Receipt& receipt);
  template <class F>
  void ForEachHosted(F action) const;  // void(const HostedServer&, Server&)
  template <class F>
  void ForEachServer(F action) const;  // void(Server&)
  int64_t InFlight() const;
  uint64_t Ended() const;
  void Say(LogLevel level, const std::string& message) const { loop_.Say(level, message); }

  const SteadyClock clock_;
  const HostOptions options_;
  HostObserver& observer_;
  StageLoop loop_;
  Prober prober_{clock_};
  // The plugin thread's while it starts and stops them.
  std::vector<std::unique_ptr<HostedServer>> hosted_;
  std::optional<ProcessAudit> audit_;  // the plugin thread's
  std::atomic<bool> abandon_start_{false};
  bool started_ = false;  // the plugin thread is done with starting
  bool stopping_plugins_ = false;
  bool plugins_stopped_ = false;
  bool may_accept_ = false;
  bool replaced_ = false;           // stopping, for a successor has taken over
  std::set<std::string> unserved_;  // addresses; see Host::Succession
  bool retiring_ = false;
  size_t not_retired_ = 0;  // servers
  std::optional<Error> start_error_;
  uint64_t ended_before_ = 0;  // calls that had ended when the first request came
  uint64_t finished_ = 0;      // from there on
  uint64_t cancelled_ = 0;
  std::vector<CancelledCall> listed_;  // of those
  PluginThread plugin_thread_{clock_};
  CallInspector inspector_;
};

// The exit code of a host that could not start.
int ExitCodeFor(const Error& error);

}  // namespace lastcall
