// HostedServer: one server of a host with the plugins behind it, from the first constructor to the last
// destructor.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include <lastcall/host/host.h>
#include <lastcall/host/plugin_thread.h>
#include <lastcall/host/process_audit.h>
#include <lastcall/plugin/plugin_offload.h>
#include <lastcall/rpc/prober.h>
#include <lastcall/rpc/server.h>

namespace lastcall {

class HostedServer {
 public:
  // What a server needs of its host; all of it callable from any thread.
  struct Context {
    const Clock& clock;
    Log log;
    Termination termination;
    Prober* prober = nullptr;  // see ServerOptions, and
    size_t finished_bytes = 1 << 20;
    std::function<void(Request)> request_stop;
    // A plugin is about to be made: "plugin echo of server public".
    std::function<void(const std::string&)> constructing;
  };

  explicit HostedServer(HostServer server);
  // Order: after Stop, or when Start was never called.
  ~HostedServer();

  // Makes the plugins in order, then the server. Threads: the plugin thread's. Stops half-way, with
  // success, once `abandoned` is set.
  // Fails: with the code of what refused, kInvalidArgument where the configuration is at fault.
  Result<> Start(PluginThread& thread, const Context& host, ProcessAudit& audit,
                 const std::atomic<bool>& abandoned);
  // Ends the server, then stops and destroys the plugins in reverse order. Threads: the plugin
  // thread's. Order: after the server has retired.
  void Stop(PluginThread& thread, ProcessAudit& audit, Deadline by);

  const std::string& name() const { return spec_.name; }
  // The plugins' offloads. Threads: any, for these.

  // Stage cancel: what is offloaded is cancelled, and no more begins. Returns at once.
  void CloseOffloads();
  // The clock has moved, where it is not the machine's.
  void OnTick();
  std::vector<OffloadReport> offloads() const;
  struct OffloadedWork {
    std::string what;  // "plugin echo: offloaded work of /pkg.Service/Method"
    Instant since{};
    pid_t thread = 0;
  };
  // What has not returned.
  std::vector<OffloadedWork> offloaded_work() const;

  // Null before it was started and after Stop.
  Server* server() { return server_.get(); }
  bool draining() const { return spec_.draining; }
  void set_draining(bool draining) { spec_.draining = draining; }

 private:
  class PluginContext;  // the PluginHost of one plugin
  struct Hosted {
    std::unique_ptr<PluginContext> context;
    std::unique_ptr<Plugin> plugin;
  };

  Result<> MakePlugin(PluginThread& thread, const Context& host, ProcessAudit& audit,
                      PluginSource& source);

  HostServer spec_;
  // A copy, for whoever asks.
  struct NamedOffload {
    std::string plugin;
    std::shared_ptr<PluginOffload> offload;
  };
  std::vector<NamedOffload> named_offloads() const;

  std::vector<Hosted> plugins_;
  mutable std::mutex offloads_mutex_;
  std::vector<NamedOffload> offloads_;  // of every plugin that was ever made
  std::unique_ptr<Server> server_;
};

}  // namespace lastcall
