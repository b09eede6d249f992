#include "lastcall/testing/plugin_harness.h"

#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>

#include <algorithm>
#include <atomic>
#include <future>
#include <mutex>

#include "lastcall/host/hosted_server.h"
#include "lastcall/host/plugin_thread.h"
#include "lastcall/host/process_audit.h"
#include "lastcall/lifecycle/lifecycle.h"
#include "lastcall/plugin/loader.h"

namespace lastcall {
class PluginHarness::Inside {
 public:
  Inside(Options options, FakeClock& clock, Log log)
      : options_(std::move(options)),
        clock_(clock),
        log_(std::move(log)),
        lifecycle_(options_.shutdown, clock.Now()) {}

  using Create = std::function<Result<std::unique_ptr<Plugin>>(PluginHost&)>;
  Result<std::string> Serve(const std::function<Result<>(const PluginConfig&)>& check,
                            const Create& create);
  void Advance(Duration length);
  void Enter(Stage stage);
  Result<> Stop();

  Stage stage() const { return lifecycle_.stage(); }
  Termination termination() const { return termination_.view(); }
  std::vector<HealthWrite> health_writes() const {
    std::lock_guard lock(mutex_);
    return health_writes_;
  }
  std::vector<std::string> shutdown_requests() const {
    std::lock_guard lock(mutex_);
    return shutdown_requests_;
  }
  std::optional<Instant> stop_deadline() const {
    std::lock_guard lock(mutex_);
    return stop_deadline_;
  }
  std::optional<bool> IsServing(std::string_view service) const;

 private:
  class Watched;      // the plugin
  class WatchedHost;  // what it is given

  Result<> Make(PluginSource source, Listener listener);
  Result<> TryStop();
  void MoveClock(Instant to);
  void Apply(const Lifecycle::Changes& changes);
  void EnterOne(const Lifecycle::Change& change);
  // In the plugins' thread. False: it has not returned.
  bool Run(std::function<void()> work);

  const Options options_;
  FakeClock& clock_;
  const Log log_;
  Lifecycle lifecycle_;
  TerminationSource termination_;
  std::optional<HostedServer> site_;
  std::optional<ProcessAudit> audit_;
  std::promise<void> retired_;
  bool retiring_ = false;
  bool stopped_ = false;
  bool hangs_ = false;  // while it is made
  Result<> stop_result_;

  mutable std::mutex mutex_;  // of what the plugin has done
  std::vector<HealthWrite> health_writes_;
  std::vector<std::string> shutdown_requests_;
  std::optional<Instant> stop_deadline_;

  PluginThread thread_{clock_};
};

class PluginHarness::Inside::WatchedHost final : public PluginHost {
 public:
  WatchedHost(Inside& inside, PluginHost& host) : inside_(inside), host_(host) {}

  std::string_view plugin() const override { return host_.plugin(); }
  std::string_view server() const override { return host_.server(); }
  const PluginConfig& config() const override { return host_.config(); }
  const Clock& clock() const override { return host_.clock(); }
  void Log(LogLevel level, std::string_view message) override { host_.Log(level, message); }
  Termination termination() const override { return host_.termination(); }
  Offload offload() const override { return host_.offload(); }
  void RequestShutdown(std::string_view reason) override {
    std::lock_guard lock(inside_.mutex_);
    inside_.shutdown_requests_.emplace_back(reason);
  }
  void SetServing(std::string_view service, bool serving) override {
    {
      std::lock_guard lock(inside_.mutex_);
      inside_.health_writes_.push_back({std::string(service), serving});
    }
    host_.SetServing(service, serving);
  }

 private:
  Inside& inside_;
  PluginHost& host_;
};

class PluginHarness::Inside::Watched final : public Plugin {
 public:
  Watched(Inside& inside, PluginHost& host) : inside_(inside), host_(inside, host) {}

  Result<> Make(const Create& create) {
    auto made = create(host_);
    if (!made) return tl::unexpected(made.error());
    plugin_ = std::move(*made);
    return {};
  }
  std::vector<grpc::Service*> Services() override { return plugin_->Services(); }
  void Stop(Deadline by) noexcept override {
    {
      std::lock_guard lock(inside_.mutex_);
      inside_.stop_deadline_ = by.at();
    }
    plugin_->Stop(by);
  }

 private:
  Inside& inside_;
  WatchedHost host_;
  std::unique_ptr<Plugin> plugin_;  // the first to go
};

bool PluginHarness::Inside::Run(std::function<void()> work) {
  const auto done = std::make_shared<std::promise<void>>();
  auto future = done->get_future();
  thread_.Post([work = std::move(work), done] {
    work();
    done->set_value();
  });
  return future.wait_for(options_.patience) == std::future_status::ready;
}

Result<std::string> PluginHarness::Inside::Serve(
    const std::function<Result<>(const PluginConfig&)>& check, const Create& create) {
  if (site_) return Fail(Code::kFailedPrecondition, "a harness starts one plugin, once");
  std::map<std::string, PluginConfig::Value, std::less<>> values;
  for (const auto& [key, value] : options_.config) values[key] = {value, "", 0};
  const PluginConfig config("server." + options_.server + ".config." + options_.plugin,
                            std::move(values));
  if (const auto checked = check(config); !checked) return tl::unexpected(checked.error());
  auto address = Address::Parse("127.0.0.1:0");
  auto listener = Listener::Bind(*address);
  if (!listener) return tl::unexpected(listener.error());
  std::string target = listener->address();
  PluginSource source{options_.plugin, config,
                      [this, create](PluginHost& host) {
                        auto watched = std::make_unique<Watched>(*this, host);
                        const auto made = watched->Make(create);
                        return made ? Result<std::unique_ptr<Plugin>>(std::move(watched))
                                    : tl::unexpected(made.error());
                      },
                      options_.offload};
  if (const auto made = Make(std::move(source), std::move(*listener)); !made) {
    return tl::unexpected(made.error());
  }
  Apply(lifecycle_.Happened(Event::kBecameReady, clock_.Now()));
  return target;
}

Result<> PluginHarness::Inside::Make(PluginSource source, Listener listener) {
  HostServer server;
  server.name = options_.server;
  server.listeners.push_back(std::move(listener));
  server.plugins.push_back(std::move(source));
  site_.emplace(std::move(server));
  const auto started = std::make_shared<Result<>>();
  const bool returned = Run([this, started] {
    audit_.emplace(log_);
    const std::atomic<bool> abandoned{false};
    *started = site_->Start(thread_,
                            {.clock = clock_,
                             .log = log_,
                             .termination = termination_.view(),
                             .request_stop = [](const Request&) {},
                             .constructing = [](const std::string&) {}},
                            *audit_, abandoned);
  });
  if (!returned) {
    hangs_ = true;
    stop_result_ = Fail(Code::kDeadlineExceeded,
                        "plugin " + options_.plugin + ": its constructor has not returned");
    return stop_result_;
  }
  return *started;
}

void PluginHarness::Inside::MoveClock(Instant to) {
  clock_.AdvanceTo(to);
  if (site_) site_->OnTick();
}

void PluginHarness::Inside::Advance(Duration length) {
  const Instant until = After(clock_.Now(), length);
  // From instant to instant, for each is to be seen at its time.
  while (lifecycle_.next_instant() <= until && stage() != Stage::kStopped) {
    MoveClock(lifecycle_.next_instant());
    Apply(lifecycle_.Advance(clock_.Now()));
  }
  MoveClock(until);
}

void PluginHarness::Inside::Enter(Stage stage) {
  Request request = RequestNow({.kind = Cause::Kind::kProgram, .who = "test"}, clock_);
  if (!IsStopping(lifecycle_.stage())) Apply(lifecycle_.RequestStop(request, clock_.Now()));
  while (lifecycle_.stage() < stage) {
    if (lifecycle_.next_instant() == kNever) {  // it has no end
      request.skip = true;
      Apply(lifecycle_.RequestStop(request, clock_.Now()));
    } else {
      MoveClock(lifecycle_.next_instant());
      Apply(lifecycle_.Advance(clock_.Now()));
    }
  }
}

void PluginHarness::Inside::Apply(const Lifecycle::Changes& changes) {
  for (const Lifecycle::Change& change : changes) EnterOne(change);
  termination_.SetPlan(lifecycle_.plan());
}

void PluginHarness::Inside::EnterOne(const Lifecycle::Change& change) {
  Server* const server = site_ && !stopped_ && !hangs_ ? site_->server() : nullptr;
  if (server != nullptr) server->SetServing(change.entered == Stage::kServing);
  termination_.SetPlan(lifecycle_.plan());
  if (IsStopping(change.entered)) termination_.Reach(change.entered, change.at);
  if (server == nullptr) return;
  if (change.entered == Stage::kServing) server->Accept(true);
  if (change.entered == Stage::kGrace) {
    retiring_ = true;
    server->BeginRetire(
        {.leave = LeaveSpread::Within(clock_.Now(), clock_.Now()), .last_call = true},
        [this] { retired_.set_value(); });
  }
  if (change.entered == Stage::kCancel) {
    site_->CloseOffloads();
    server->Cancel();
  }
}

Result<> PluginHarness::Inside::Stop() {
  if (!site_ || stopped_ || hangs_) return stop_result_;
  Enter(Stage::kCancel);
  stopped_ = true;
  stop_result_ = TryStop();
  return stop_result_;
}

Result<> PluginHarness::Inside::TryStop() {
  if (retiring_ && retired_.get_future().wait_for(options_.patience) != std::future_status::ready) {
    const auto calls = site_->server()->calls().Calls(1);
    return Fail(Code::kDeadlineExceeded,
                calls.empty() ? "a connection does not end"
                              : "the handler of " + calls[0].method + " has not returned");
  }
  const Deadline by(lifecycle_.plan().end);
  if (!Run([this, by] { site_->Stop(thread_, *audit_, by); })) {
    const auto activity = thread_.activity();
    return Fail(Code::kDeadlineExceeded,
                (activity ? activity->what : "something") + " has not returned");
  }
  Apply(lifecycle_.Happened(Event::kCompleted, clock_.Now()));
  return {};
}

std::optional<bool> PluginHarness::Inside::IsServing(std::string_view service) const {
  const bool serving = lifecycle_.stage() == Stage::kServing;
  if (service.empty()) return serving;
  std::lock_guard lock(mutex_);
  for (auto last = health_writes_.rbegin(); last != health_writes_.rend(); ++last) {
    if (last->service == service) return serving && last->serving;
  }
  return serving;
}

PluginHarness::PluginHarness(Options options)
    : inside_(std::make_unique<Inside>(std::move(options), clock_, log_.log())) {}

PluginHarness::~PluginHarness() {
  // What does not return runs on and may not be destroyed.
  if (!Stop()) (void)inside_.release();
}

Result<> PluginHarness::Start(const PluginEntry& entry) {
  return Serve(
      [entry](const PluginConfig& config) { return CheckPlugin(entry, "of this test", config); },
      [entry](PluginHost& host) { return CreatePlugin(entry, host); });
}

Result<> PluginHarness::Load(const std::string& path) {
  const auto library = PluginLibrary::Open(path);
  if (!library) return tl::unexpected(library.error());
  return Serve([library](const PluginConfig& config) { return library->Check(config); },
               [library](PluginHost& host) { return library->Create(host); });
}

Result<> PluginHarness::Serve(std::function<Result<>(const PluginConfig&)> check,
                              std::function<Result<std::unique_ptr<Plugin>>(PluginHost&)> create) {
  const auto target = inside_->Serve(check, create);
  if (!target) return tl::unexpected(target.error());
  channel_ = grpc::CreateChannel(*target, grpc::InsecureChannelCredentials());
  return {};
}

void PluginHarness::Advance(Duration length) { inside_->Advance(length); }
void PluginHarness::Enter(Stage stage) { inside_->Enter(stage); }
Stage PluginHarness::stage() const { return inside_->stage(); }
Termination PluginHarness::termination() const { return inside_->termination(); }

Result<> PluginHarness::Stop() { return inside_->Stop(); }

std::vector<PluginHarness::HealthWrite> PluginHarness::health_writes() const {
  return inside_->health_writes();
}
std::optional<bool> PluginHarness::IsServing(std::string_view service) const {
  return inside_->IsServing(service);
}
std::vector<std::string> PluginHarness::shutdown_requests() const {
  return inside_->shutdown_requests();
}
std::optional<Instant> PluginHarness::stop_deadline() const { return inside_->stop_deadline(); }

}  // namespace lastcall
