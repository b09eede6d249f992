#include "lastcall/host/hosted_server.h"

#include <atomic>
#include <map>
#include <mutex>
#include <utility>

#include "lastcall/base/safe_text.h"

namespace lastcall {

class HostedServer::PluginContext final : public PluginHost {
 public:
  PluginContext(PluginSource source, std::string server, const Context& host)
      : source_(std::move(source)),
        server_name_(std::move(server)),
        context_(host),
        offload_(std::make_shared<PluginOffload>(
            source_.offload, context_.clock,
            [log = context_.log, plugin = source_.name](LogLevel level, std::string_view message) {
              log(level, "plugin " + plugin + ": " + std::string(message));
            })) {}

  std::string_view plugin() const override { return source_.name; }
  std::string_view server() const override { return server_name_; }
  const PluginConfig& config() const override { return source_.config; }
  const Clock& clock() const override { return context_.clock; }
  Termination termination() const override { return context_.termination; }
  Offload offload() const override { return Offload(offload_); }
  const std::shared_ptr<PluginOffload>& own_offload() const { return offload_; }

  void Log(LogLevel level, std::string_view message) override {
    context_.log(level, "plugin " + source_.name + ": " + SafeText(std::string(message)));
  }

  void SetServing(std::string_view service, bool serving) override {
    if (serving && context_.termination.Reached(Stage::kDelay)) return RefuseHealth(service);
    std::lock_guard lock(mutex_);
    if (server_ == nullptr) {
      early_[std::string(service)] = serving;
    } else {
      Apply(service, serving);
    }
  }

  void RequestShutdown(std::string_view reason) override {
    context_.request_stop(RequestNow(
        {.kind = Cause::Kind::kPlugin, .who = source_.name, .reason = std::string(reason)},
        context_.clock));
  }

  Result<std::unique_ptr<Plugin>> Create() { return source_.create(*this); }

  // For logs.
  std::string who() const { return "plugin " + source_.name + " of server " + server_name_; }

  // What was said of health before there was a server takes effect. Null: the server goes.
  void SetServer(Server* server) {
    std::lock_guard lock(mutex_);
    server_ = server;
    if (server_ == nullptr) return;
    for (const auto& [service, serving] : early_) Apply(service, serving);
  }

 private:
  void Apply(std::string_view service, bool serving) {
    if (server_->SetServiceServing(service, serving)) return;
    Log(LogLevel::kWarning, "sets the health of \"" + SafeText(std::string(service), kMaxSafeName) +
                                "\", which is not a service of server " + server_name_);
  }

  // Once: whoever does it may do it often.
  void RefuseHealth(std::string_view service) {
    if (health_refused_.exchange(true)) return;
    context_.log(LogLevel::kWarning,
                 who() + " sets the health of \"" + SafeText(std::string(service), kMaxSafeName) +
                     "\" to SERVING during a shutdown; it is not, and stays as it is. Ask "
                     "PluginHost::termination() before setting it");
  }

  const PluginSource source_;
  const std::string server_name_;
  const Context context_;
  const std::shared_ptr<PluginOffload> offload_;
  std::atomic<bool> health_refused_{false};
  std::mutex mutex_;
  Server* server_ = nullptr;
  std::map<std::string, bool> early_;
};

HostedServer::HostedServer(HostServer server) : spec_(std::move(server)) {}
HostedServer::~HostedServer() = default;

Result<> HostedServer::MakePlugin(PluginThread& thread, const Context& host, ProcessAudit& audit,
                                  PluginSource& source) {
  const std::string name = source.name;
  auto context = std::make_unique<PluginContext>(std::move(source), spec_.name, host);
  {
    std::lock_guard lock(offloads_mutex_);
    offloads_.push_back({name, context->own_offload()});
  }
  host.constructing(context->who());
  auto plugin = thread.As("plugin " + name + ": constructor", [&] { return context->Create(); });
  audit.Inspect(context->who());
  if (!plugin) return tl::unexpected(plugin.error());
  for (grpc::Service* service : (*plugin)->Services()) spec_.services.push_back(service);
  std::string unread;
  for (const std::string& problem : context->config().Unread()) {
    unread += (unread.empty() ? "" : "\n") + problem;
  }
  plugins_.push_back({std::move(context), std::move(*plugin)});
  if (!unread.empty()) return Fail(Code::kInvalidArgument, std::move(unread));
  return {};
}

Result<> HostedServer::Start(PluginThread& thread, const Context& host, ProcessAudit& audit,
                             const std::atomic<bool>& abandoned) {
  for (PluginSource& source : spec_.plugins) {
    if (abandoned.load()) return {};
    if (const auto made = MakePlugin(thread, host, audit, source); !made) return made;
  }
  if (abandoned.load()) return {};
  auto server = Server::Start(
      {.name = spec_.name,
       .listeners = std::move(spec_.listeners),
       .services = spec_.services,
       .reflection = spec_.reflection,
       .limits = spec_.limits,
       .tls = std::move(spec_.tls),
       .warn = [log = host.log](const std::string& what) { log(LogLevel::kWarning, what); },
       .finished_bytes = host.finished_bytes,
       .prober = host.prober},
      host.clock, host.termination);
  if (!server) return tl::unexpected(server.error());
  server_ = std::move(*server);
  if (const auto known = server_->SetStalls(spec_.stalls); !known) {
    return Fail(Code::kInvalidArgument, known.error().message);
  }
  for (const Hosted& hosted : plugins_) hosted.context->SetServer(server_.get());
  return {};
}

void HostedServer::Stop(PluginThread& thread, ProcessAudit& audit, Deadline by) {
  for (const Hosted& hosted : plugins_) hosted.context->SetServer(nullptr);
  CloseOffloads();
  thread.As("server " + spec_.name + ": closing", [&] { server_ = nullptr; });
  while (!plugins_.empty()) {
    Hosted& last = plugins_.back();
    const std::string name = "plugin " + std::string(last.context->plugin());
    // The plugin is under its feet. Where it does not return this does not either, and the plan's end
    // ends the process.
    thread.As(name + ": offloaded work", [&] { last.context->own_offload()->WaitIdle(); });
    thread.As(name + ": Stop", [&] { last.plugin->Stop(by); });
    thread.As(name + ": destructor", [&] { last.plugin = nullptr; });
    audit.InspectEnd(last.context->who());
    plugins_.pop_back();
  }
}

std::vector<HostedServer::NamedOffload> HostedServer::named_offloads() const {
  std::lock_guard lock(offloads_mutex_);
  return offloads_;
}

void HostedServer::CloseOffloads() {
  for (const NamedOffload& one : named_offloads()) {
    one.offload->Close({Code::kCancelled, "the server is stopping"});
  }
}

void HostedServer::OnTick() {
  for (const NamedOffload& one : named_offloads()) one.offload->OnTick();
}

std::vector<OffloadReport> HostedServer::offloads() const {
  std::vector<OffloadReport> reports;
  for (const NamedOffload& one : named_offloads()) {
    reports.push_back({one.plugin, one.offload->limits(), one.offload->counts()});
  }
  return reports;
}

std::vector<HostedServer::OffloadedWork> HostedServer::offloaded_work() const {
  std::vector<OffloadedWork> all;
  for (const NamedOffload& one : named_offloads()) {
    for (const PluginOffload::Running& work : one.offload->running()) {
      all.push_back(
          {"plugin " + one.plugin + ": offloaded work of " + work.method, work.since, work.thread});
    }
  }
  return all;
}

}  // namespace lastcall
