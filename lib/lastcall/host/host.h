// Host: servers, their plugins and services, the lifecycle and the signals of one process.
//
//   int main() {
//     lastcall::BlockSignals();                       // before the first thread
//     Greeter greeter;                                // a grpc::Service
//     lastcall::Host host({.shutdown = {.delay = 0s, .grace = 20s, .cancel = 5s}});
//     auto added = host.AddServer({.listen = {"127.0.0.1:50051"}, .services = {&greeter}});
//     if (!added) return host.ReportStartError(added.error());
//     return host.Run();                              // SIGTERM ends it, in stages
//   }
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include <lastcall/base/log.h>
#include <lastcall/base/result.h>
#include <lastcall/base/unique_fd.h>
#include <lastcall/host/call_listing.h>
#include <lastcall/lifecycle/plan.h>
#include <lastcall/lifecycle/receipt.h>
#include <lastcall/lifecycle/stage.h>
#include <lastcall/lifecycle/termination.h>
#include <lastcall/net/limits.h>
#include <lastcall/net/listener.h>
#include <lastcall/net/tls.h>
#include <lastcall/plugin/plugin.h>
#include <lastcall/rpc/call_info.h>
#include <lastcall/rpc/canary_report.h>
#include <lastcall/rpc/stall_limits.h>
#include <lastcall/signals/signals.h>

namespace lastcall {

// How a plugin is made when its server starts.
struct PluginSource {
  std::string name;
  PluginConfig config;
  std::function<Result<std::unique_ptr<Plugin>>(PluginHost&)> create;
  OffloadLimits offload = {};
};

struct HostServer {
  std::string name = "main";
  std::vector<std::string> listen;       // bound by AddServer, and
  std::vector<Listener> listeners;       // bound already
  std::vector<grpc::Service*> services;  // the program's own; must outlive the host, and
  std::vector<PluginSource> plugins;     // made and stopped by the host
  bool reflection = false;
  bool draining = false;
  ServerLimits limits;
  StallLimits stalls;
  std::optional<TlsMaterial> tls;
};

// What the host tells whoever supervises it. In the host's own thread; must not block.
class HostObserver {
 public:
  virtual ~HostObserver() = default;
  // A plugin is about to be loaded and made: "plugin echo of server public". If the process ends
  // before it is ready, that was it. In the thread that makes plugins.
  virtual void Constructing(const std::string&) {}
  // Everything is started; it accepts next, where HostOptions::accept_when_ready says so.
  virtual void Ready() {}
  // The start is refused; Finished follows.
  virtual void StartFailed(const Error&) {}
  virtual void StageEntered(Stage) {}
  // A plugin requested a shutdown. True: the observer takes it; false: it is the host's own.
  virtual bool TakesRequest(const Request&) { return false; }
  // How many calls of a server are stalled has changed, or whether the host is frozen. In any thread.
  virtual void StallsChanged() {}
  // Connections that their clients have yet to close, of a host that was replaced: who keeps them for
  // some seconds lets the clients find out that they should go elsewhere. In any thread.
  virtual void LeftBehind(std::vector<UniqueFd>) {}
  // The last word, also when the process is about to be ended by force.
  virtual void Finished(const Receipt&) {}
};

struct HostOptions {
  std::string name = "main";
  uint32_t incarnation = 0;
  Budget shutdown = {};
  std::optional<Duration> quiet = {};  // ends delay early when no new call came for that long
  bool accept_when_ready = true;       // false: SetAccepting(true) does it
  Instant ready_by = kNever;           // a start that takes longer is refused, by the plugin's name
  // How long nothing may get through, every thread that could serve it being held, until the host says
  // that it is frozen.
  Duration frozen_after = std::chrono::seconds(10);
  std::optional<SignalReader::Form> signals = SignalReader::Form::kWait;  // empty: reads none
  // void(LogLevel, std::string_view); empty: warnings and errors to stderr. Called in a thread of
  // its own, one line after another, so that nothing waits for it: what it does not take in time is
  // dropped, counted, and said.
  Log log = {};
  HostObserver* observer = nullptr;  // must outlive the host
};

struct OffloadReport {
  std::string plugin;
  OffloadLimits limits;
  OffloadCounts counts;
};

struct ServerReport {
  std::string name;
  bool serving = false;
  bool accepting = false;
  int64_t calls_in_flight = 0;
  uint64_t calls_total = 0;
  size_t connections = 0;
  std::vector<MethodCount> methods;
  std::vector<CallInfo> oldest;  // in flight, oldest first, some of them; while stopping alone
  size_t stalled = 0;            // calls that make no progress
  std::string held_by = {};      // see CallInspector::HeldBy
  std::optional<CanaryReport> canary = {};  // see Server::canary
  std::vector<OffloadReport> offloads;
};

struct HostReport {
  Stage stage = Stage::kStarting;
  std::vector<ServerReport> servers;
  std::string frozen;  // why it is, as the log has it with stacks; empty: it is not
};

class HostLoop;

class Host {
 public:
  explicit Host(HostOptions options);
  // Blocks: until a call of the log that runs has returned; where it has not at the plan's end, the
  // process ends by _exit(4).
  ~Host();

  // Order: before Run. Fails: an address that cannot be bound (see Listener::Bind).
  Result<> AddServer(HostServer server);
  // Prints the error and returns the exit code for it: 69 cannot bind, 70 otherwise.
  int ReportStartError(const Error& error) const;

  // Starts everything, serves until somebody asks for a stop, and stops in stages.
  // Blocks: until stopped. Returns the exit code: 0 every call finished, 3 calls were cancelled,
  // 70 or 78 it could not start. When something has to be left behind at the last instant (or at
  // ready_by), it does not return: the process ends by _exit(4), after observer and log have the receipt.
  int Run();

  // The rest, from any thread, also inside handlers, callbacks and signals' threads; does not block.

  // Asks for a stop: merged with every other request, see Ledger. Lengths that are left out are the
  // configured ones. A request that does not say when it was made was made now.
  void Shutdown(std::string reason, std::optional<Duration> delay = {},
                std::optional<Duration> grace = {}, std::optional<Duration> cancel = {});
  void RequestStop(Request request);
  // Who serves the clients of a process that stops.
  struct Succession {
    // A successor has taken over the listening sockets: health stays as it is, and what waits in
    // their queues is left to it.
    bool replaced = false;
    // Addresses that nobody will accept at any more: newcomers are refused there from grace on. On the
    // others, where not replaced, they wait for who comes.
    std::set<std::string> unserved = {};
  };
  // Takes over a plan made elsewhere, by the supervisor.
  void Adopt(const Plan& plan, std::vector<Ledger::Entry> entries, Succession succession);
  void SetAccepting(bool accepting);
  void SetDraining(std::string server, bool draining);
  // Runs `look` in the host's thread.
  void Query(std::function<void(const HostReport&)> look);
  // The calls in flight, oldest first, in parts; `limit`: of the oldest so many (0: all). No call
  // waits for it. This and what follows answer in a thread of the host's own, which their callbacks
  // must not block; what has not answered when the host goes never does.
  void ListCalls(CallFilter filter, size_t limit, TakeCalls take);
  // Of each method the slowest calls that are over, and the last that failed. Of the filter only server
  // and method count.
  void ListFinishedCalls(CallFilter filter, TakeFinished take);
  // Nothing: no call of that number is in flight.
  void FindCall(uint64_t number, std::function<void(std::optional<CallDetails>)> answer);
  // Their clients see CANCELLED and why.
  void CancelCalls(CallChoice choice, std::string why, bool dry_run,
                   std::function<void(CallsCancelled)> answer);
  // State, calls in flight and the stacks of their handlers, to the log.
  void Dump();
  Termination termination() const;

  // Order: after Run.
  const Receipt& receipt() const;

 private:
  std::unique_ptr<HostLoop> loop_;
};

}  // namespace lastcall
