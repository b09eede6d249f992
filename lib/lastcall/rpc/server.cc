#include "lastcall/rpc/server.h"

#include <google/protobuf/descriptor.h>
#include <grpc/grpc.h>
#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/impl/server_builder_option.h>
#include <grpcpp/impl/server_initializer.h>
#include <grpcpp/impl/service_type.h>
#include <grpcpp/resource_quota.h>

#include <algorithm>
#include <atomic>
#include <system_error>
#include <utility>

#include "lastcall/net/acceptor.h"
#include "lastcall/net/connections.h"
#include "lastcall/rpc/canary.h"
#include "lastcall/rpc/channelz.h"
#include "lastcall/rpc/goaway.h"
#include "lastcall/rpc/guard.h"
#include "lastcall/rpc/health_board.h"
#include "lastcall/rpc/health_service.h"
#include "lastcall/rpc/peer_name.h"
#include "lastcall/rpc/prober.h"
#include "lastcall/rpc/retirement.h"
#include "lastcall/rpc/unary_guard.h"

namespace lastcall {
namespace {

using ::grpc::experimental::ExternalConnectionAcceptor;

// Learns the names of the services, which a grpc::Service keeps to itself.
class ServiceNames final : public grpc::ServerBuilderPlugin {
 public:
  explicit ServiceNames(std::vector<std::string>& names) : names_(names) {}
  std::string name() override { return "lastcall_service_names"; }
  void InitServer(grpc::ServerInitializer*) override {}
  void Finish(grpc::ServerInitializer* server) override {
    for (const std::string& each : *server->GetServiceList()) names_.push_back(each);
  }
  void ChangeArguments(const std::string&, void*) override {}

 private:
  std::vector<std::string>& names_;
};

// Linking the reflection library switches reflection on for every server of the process; this takes
// it away where it was not asked for.
class ChoosePlugins final : public grpc::ServerBuilderOption {
 public:
  ChoosePlugins(bool reflection, std::vector<std::string>& names)
      : reflection_(reflection), names_(names) {}

  void UpdateArguments(grpc::ChannelArguments*) override {}
  void UpdatePlugins(std::vector<std::unique_ptr<grpc::ServerBuilderPlugin>>* plugins) override {
    std::erase_if(*plugins, [](const auto& plugin) { return plugin->name() == kReflectionPlugin; });
    if (reflection_) {
      plugins->push_back(std::make_unique<grpc::reflection::ProtoServerReflectionPlugin>());
    }
    plugins->push_back(std::make_unique<ServiceNames>(names_));
  }

 private:
  static constexpr std::string_view kReflectionPlugin = "proto_server_reflection";
  const bool reflection_;
  std::vector<std::string>& names_;
};

int Milliseconds(Duration length) {
  return static_cast<int>(std::chrono::duration_cast<std::chrono::milliseconds>(length).count());
}

void ApplyLimits(const ServerLimits& limits, grpc::ServerBuilder& builder) {
  const auto set = [&](const char* name, auto value) {
    if (value > 0) builder.AddChannelArgument(name, static_cast<int>(value));
  };
  set(GRPC_ARG_MAX_CONCURRENT_STREAMS, limits.streams);
  set(GRPC_ARG_KEEPALIVE_TIME_MS, Milliseconds(limits.keepalive));
  set(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, Milliseconds(limits.keepalive_timeout));
  // A peer without a call that is gone would keep its connection forever otherwise.
  set(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  set(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, Milliseconds(limits.handshake));
  if (limits.message > 0) builder.SetMaxReceiveMessageSize(static_cast<int>(limits.message));
  set(GRPC_ARG_MAX_METADATA_SIZE, limits.metadata);
  grpc::ResourceQuota quota("lastcall");
  // One more, which waits for the next call: with a single one gRPC would refuse them all.
  if (limits.threads > 0) quota.SetMaxThreads(static_cast<int>(limits.threads) + 1);
  if (limits.memory > 0) quota.Resize(limits.memory);
  builder.SetResourceQuota(quota);
}

// The age of connections where it alone makes clients leave.
constexpr Duration kAge = std::chrono::seconds(25);

// How long a TLS handshake may take, on a machine that is busy.
constexpr Duration kHandshake = std::chrono::seconds(5);

// gRPC's own end joins a thread that may be polling, for up to ten seconds, on behalf of a peer
// that did not read what was written to it. So gRPC stays until the process ends.
void KeepGrpc() { [[maybe_unused]] static const bool kept = (grpc_init(), true); }

std::shared_ptr<grpc::ServerCredentials> CredentialsOf(const std::optional<TlsMaterial>& tls) {
  if (!tls) return grpc::InsecureServerCredentials();
  grpc::SslServerCredentialsOptions options(
      tls->client_ca.empty() ? GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE
                             : GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
  options.pem_key_cert_pairs.push_back({tls->key, tls->certificate});
  options.pem_root_certs = tls->client_ca;
  return grpc::SslServerCredentials(options);
}

// Says how many calls were refused for want of a thread: the first at once, then no more than a line a
// minute. Threads: any.
class Refusals {
 public:
  Refusals(std::string server, uint32_t threads, std::function<void(const std::string&)> warn)
      : server_(std::move(server)), threads_(threads), warn_(std::move(warn)) {}

  void Count() {
    const uint64_t count = ++count_;
    const auto now = std::chrono::steady_clock::now().time_since_epoch();
    auto due = due_.load();
    if (now < due || !due_.compare_exchange_strong(due, now + std::chrono::minutes(1))) return;
    warn_("server \"" + server_ + "\": " + std::to_string(count) +
          (count == 1 ? " call was" : " calls were") +
          " refused (RESOURCE_EXHAUSTED) so far: " + std::to_string(threads_) +
          " synchronous handlers are at work, its limit of threads; raise it, or look for handlers "
          "that "
          "do not return");
  }

 private:
  const std::string server_;
  const uint32_t threads_;
  const std::function<void(const std::string&)> warn_;
  std::atomic<uint64_t> count_{0};
  std::atomic<std::chrono::steady_clock::duration> due_{
      std::chrono::steady_clock::duration::zero()};
};

// As protobuf knows them: a grpc::Service keeps its methods to itself. One without descriptors
// (lite protobuf, another serialisation) has its methods counted like those that clients invent.
void AddMethods(const std::string& service, CallRegistry& calls) {
  const auto* pool = google::protobuf::DescriptorPool::generated_pool();
  const google::protobuf::ServiceDescriptor* descriptor = pool->FindServiceByName(service);
  for (int i = 0; descriptor != nullptr && i < descriptor->method_count(); ++i) {
    calls.AddMethod("/" + service + "/" + descriptor->method(i)->name());
  }
}

bool IsCallback(const grpc::Service* service) { return service->has_callback_methods(); }

// Not so for the methods of gRPC's asynchronous API, whose queues are their service's own.
bool GrpcPolls(const std::vector<grpc::Service*>& services) {
  return std::any_of(services.begin(), services.end(), [](const grpc::Service* service) {
    return service->has_synchronous_methods() || service->has_callback_methods();
  });
}

}  // namespace

// Members go in reverse order: nobody hands connections over once the server is gone.
class Server::Grpc {
 public:
  explicit Grpc(const Clock& clock) : canary(clock) {}

  HealthBoard health;
  HealthService health_service{health, [this] { retirement->Nudge(); }};
  Connections connections;
  Canary canary;
  std::optional<UnaryGuard> unary_guard;  // from when the server is built
  Prober* prober = nullptr;               // null: the canary has no turns
  std::vector<std::unique_ptr<ExternalConnectionAcceptor>> entrances;  // one for each listener
  std::unique_ptr<grpc::Server> server;
  std::unique_ptr<Retirement> retirement;
  std::unique_ptr<Acceptor> acceptor;

  // Those who come to the last call, by listener; the acceptor's thread's until it has ended.
  std::atomic<bool> last_call = false;
  std::vector<std::pair<size_t, UniqueFd>> newcomers;

  // Nothing may be sent to the server from inside the process once its connections are sent away, or its
  // calls cancelled.
  void EndProbes() {
    if (prober != nullptr) prober->Remove(canary);
    canary.EndTurns();
  }

  void Accepted(size_t listener, UniqueFd connection) {
    connections.Add(connection.get());
    if (last_call) {
      newcomers.emplace_back(listener, std::move(connection));
    } else {
      HandOver(listener, std::move(connection));
    }
  }

  void LetSilentIn() {
    std::erase_if(newcomers, [this](auto& each) {
      if (Connections::Unread(each.second.get()) > 0) return false;
      HandOver(each.first, std::move(each.second));
      return true;
    });
  }

  std::vector<int> LetIn() {
    std::vector<int> clients;
    for (auto& [listener, connection] : newcomers) {
      clients.push_back(connection.get());
      HandOver(listener, std::move(connection));
    }
    newcomers.clear();
    return clients;
  }

  void HandOver(size_t listener, UniqueFd connection) {
    ExternalConnectionAcceptor::NewConnectionParameters parameters;
    parameters.fd = connection.Release();
    entrances[listener]->HandleNewConnection(&parameters);
  }
};

Server::Server(std::string name, const Clock& clock, Termination termination)
    : name_(std::move(name)),
      clock_(clock),
      calls_(clock, termination, [this] { grpc_->retirement->Nudge(); }),
      leave_teller_(clock, std::move(termination), calls_),
      grpc_(std::make_unique<Grpc>(clock)) {}

Result<std::unique_ptr<Server>> Server::Start(ServerOptions options, const Clock& clock,
                                              Termination termination) {
  const std::string name = options.name;
  try {
    return Build(std::move(options), clock, std::move(termination));
  } catch (const std::system_error& error) {
    return Fail(
        Code::kResourceExhausted,
        "server \"" + name + "\": no thread can be made (" + error.code().message() +
            "); raise the limit of tasks: TasksMax= of the unit, pids.max of the container, "
            "or \"ulimit -u\"");
  }
}

Result<std::unique_ptr<Server>> Server::Build(ServerOptions options, const Clock& clock,
                                              Termination termination) {
  KeepGrpc();
  std::unique_ptr<Server> server(new Server(options.name, clock, std::move(termination)));
  Grpc& grpc = *server->grpc_;
  server->threads_ = options.limits.threads;

  grpc::ServerBuilder builder;
  builder.SetOption(std::make_unique<ChoosePlugins>(options.reflection, server->services_));
  ApplyLimits(options.limits, builder);
  const auto goaway = options.age ? nullptr : FindGoaway();
  if (!goaway) {
    const Duration age = options.age.value_or(kAge);
    builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_AGE_MS, Milliseconds(age));
    options.warn("server \"" + options.name + "\": this gRPC (" + grpc::Version() +
                 ") cannot send clients away by itself; connections end every " +
                 FormatDuration(age) + ", and stopping takes as long while clients are connected");
  } else if (!Lingering::Works()) {
    options.warn("server \"" + options.name +
                 "\": this program has a close() or shutdown() of its "
                 "own; a few calls may be lost when the server stops");
  }
  std::vector<std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface>> guards;
  grpc.unary_guard.emplace(
      server->calls_, [&canary = grpc.canary,
                       refusals = std::make_shared<Refusals>(options.name, options.limits.threads,
                                                             options.warn)](const char* method) {
        if (!canary.Sent(method)) refusals->Count();
      });
  guards.push_back(MakeGuard(server->calls_, *grpc.unary_guard, grpc.canary));
  builder.experimental().SetInterceptorCreators(std::move(guards));
  for (grpc::Service* service : options.services) {
    builder.RegisterService(&grpc.unary_guard->Wrap(*service));
  }
  if (options.prober != nullptr || options.probed) {
    grpc.canary.Register(builder, options.services);
  }
  grpc.health_service.Register(builder, GrpcPolls(options.services));
  const auto credentials = CredentialsOf(options.tls);
  for (const Listener& listener : options.listeners) {
    server->addresses_.push_back(listener.address());
  }
  for (size_t i = 0; i < std::max<size_t>(options.listeners.size(), 1); ++i) {
    grpc.entrances.push_back(builder.experimental().AddExternalConnectionAcceptor(
        grpc::ServerBuilder::experimental_type::ExternalConnectionType::FROM_FD, credentials));
  }
  builder.AddChannelArgument(GRPC_ARG_ENABLE_CHANNELZ, 1);
  const Channelz::Servers others = Channelz::All();
  grpc.server = builder.BuildAndStart();
  if (grpc.server == nullptr) {
    return Fail(Code::kInternal, "server \"" + options.name +
                                     "\" could not be built; gRPC's log above says why (two "
                                     "services of one name?)");
  }
  if (std::any_of(options.services.begin(), options.services.end(), IsCallback) &&
      !std::all_of(options.services.begin(), options.services.end(), IsCallback)) {
    options.warn("server \"" + options.name +
                 "\" mixes synchronous and callback services: gRPC then serves the synchronous "
                 "ones from the callback threads too; give each kind a server of its own");
  }
  grpc.unary_guard->WatchRefusals(*grpc.server);
  std::erase_if(server->services_,
                [](const std::string& service) { return IsHousekeeping("/" + service + "/"); });
  for (const std::string& service : server->services_) {
    grpc.health.AddService(service);
    AddMethods(service, server->calls_);
  }
  server->calls_.BoundFinished(options.finished_bytes / FinishedCalls::kBytesOfOne);
  grpc.retirement = std::make_unique<Retirement>(
      *grpc.server, grpc.connections,
      Retirement::Options{
          .goaway = goaway,
          .age = options.age.value_or(kAge),
          .in_flight =
              [&grpc, &calls = server->calls_] {
                return calls.in_flight() + calls.questions().in_flight() +
                       grpc.health_service.in_flight();
              },
          .channelz = Channelz(others),
          .housekeeping = [&calls = server->calls_] { return calls.housekeeping().load(); },
          .sent_away = [&grpc] { grpc.health_service.SendGoaway(); },
          .handshake = options.tls ? kHandshake : Duration::zero()});
  grpc.health_service.Start();
  if (grpc.canary.Open(*grpc.server) && options.prober != nullptr) {
    options.prober->Add(grpc.canary);
    grpc.prober = options.prober;
  }
  if (options.listeners.empty()) return server;
  grpc.acceptor = std::make_unique<Acceptor>(
      std::move(options.listeners),
      Acceptor::Callbacks{
          .accepted = [&grpc](size_t listener,
                              UniqueFd fd) { grpc.Accepted(listener, std::move(fd)); },
          .has_room =
              [&grpc, limit = options.limits.connections] {
                return limit == 0 || grpc.connections.HasRoom(limit);
              },
          .warn = [warn = options.warn, name = options.name](
                      const std::string& what) { warn("server \"" + name + "\": " + what); }},
      clock);
  return server;
}

Server::~Server() {
  if (grpc_->acceptor != nullptr) grpc_->acceptor->Pause();
  grpc_->health_service.EndStreams();
  grpc_->EndProbes();
  // The retirement first: it is a thread inside Shutdown.
  if (grpc_->retirement != nullptr) grpc_->retirement->End();
  grpc_->canary.Close();
  if (grpc_->server != nullptr) grpc_->server->Shutdown();
  grpc_->health_service.Stop();
  grpc_->acceptor = nullptr;
}

void Server::Accept(bool accept) {
  if (grpc_->acceptor == nullptr) return;
  if (accept) {
    grpc_->acceptor->Resume();
  } else {
    grpc_->acceptor->Pause();
  }
}

bool Server::accepting() const {
  return grpc_->acceptor != nullptr && grpc_->acceptor->accepting();
}

void Server::Take(UniqueFd connection, const std::string& name) {
  const PeerName named(name);
  grpc_->Accepted(0, std::move(connection));
}

void Server::SetServing(bool serving) { grpc_->health.SetServing(serving); }

bool Server::SetServiceServing(std::string_view service, bool serving) {
  return grpc_->health.SetServiceServing(service, serving);
}

bool Server::serving() const { return grpc_->health.serving(); }

size_t Server::CountConnections() { return grpc_->connections.Count(); }

std::optional<CanaryReport> Server::canary() const { return grpc_->canary.report(); }

bool Server::BeginProbe(std::function<void()> answered) {
  return grpc_->canary.BeginProbe(std::move(answered));
}

void Server::SendGoaway() {
  grpc_->canary.SendAway([this] { grpc_->retirement->SendGoaway(); });
}

void Server::BeginRetire(const RetireOptions& how, std::function<void()> retired) {
  Retirement::LastCall last_call{
      .closed = how.closed,
      .let_silent_in = [&grpc = *grpc_] { grpc.LetSilentIn(); },
      .let_in = [&grpc = *grpc_] { return grpc.LetIn(); },
      // Who is sent away for good needs the rest of grace to finish what was begun.
      .patience =
          how.leave.cancel() == kNever ? kForever : (how.leave.cancel() - clock_.Now()) / 4};
  if (grpc_->acceptor != nullptr) {
    grpc_->last_call = true;
    grpc_->acceptor->BeginEnd(how.last_call, how.unserved);
    last_call.closed = [acceptor = grpc_->acceptor.get()] { acceptor->AwaitEnd(); };
  }
  grpc_->EndProbes();
  last_call.closed = [&grpc = *grpc_, closed = std::move(last_call.closed)] {
    grpc.canary.Close();
    closed();
  };
  leave_teller_.Begin(how.leave);
  calls_.WatchIdle();
  grpc_->retirement->Begin(std::move(last_call), how.heir, std::move(retired));
}

void Server::Cancel() {
  if (grpc_->acceptor != nullptr) grpc_->acceptor->BeginEnd(false);
  grpc_->retirement->Cancel();
}

}  // namespace lastcall
