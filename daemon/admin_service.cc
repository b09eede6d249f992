#include "daemon/admin_service.h"

#include <grpcpp/grpcpp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <charconv>
#include <deque>
#include <future>
#include <utility>

#include "lastcall/admin/v1/admin.grpc.pb.h"

#include <lastcall/plugin/plugin.h>
#include <lastcall/rpc/call.h>

namespace lastcall {
namespace {

using grpc::ServerContext;

// How long a question may wait for the loop, which never blocks.
constexpr auto kLoopPatience = std::chrono::seconds(5);
// Each call is a thread while it runs, a watcher for as long as it watches.
constexpr int kThreads = 160;
// By which lastcallctl says who it is; believed when the kernel knows that process on the socket.
constexpr char kPidKey[] = "lastcall-pid";

grpc::Status ToGrpc(const Error& error) {
  return {static_cast<grpc::StatusCode>(error.code), error.message};
}

grpc::Status Stopped() { return {grpc::StatusCode::UNAVAILABLE, "lastcalld has stopped"}; }

}  // namespace

// Who is connected, as the kernel said when each connection was accepted. gRPC does not tell a
// handler which connection its call came over.
class AdminServer::Callers {
 public:
  explicit Callers(Log log) : log_(std::move(log)) {}

  bool Admit(int fd) {
    ucred peer{};
    socklen_t size = sizeof(peer);
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return false;
    if (peer.uid != 0 && peer.uid != getuid()) {
      log_(LogLevel::kWarning, "admin: refused pid " + std::to_string(peer.pid) + " of uid " +
                                   std::to_string(peer.uid));
      return false;
    }
    std::lock_guard lock(mutex_);
    peers_.push_back(peer);
    if (peers_.size() > kRemembered) peers_.pop_front();
    return true;
  }

  Cause Identify(const ServerContext& context, const std::string& reason) const {
    Cause cause{.kind = Cause::Kind::kAdmin, .reason = reason};
    const auto& metadata = context.client_metadata();
    const auto claim = metadata.find(kPidKey);
    if (claim == metadata.end()) return cause;
    pid_t pid = 0;
    std::from_chars(claim->second.begin(), claim->second.end(), pid);
    std::lock_guard lock(mutex_);
    for (auto peer = peers_.rbegin(); peer != peers_.rend(); ++peer) {
      if (peer->pid != pid) continue;
      cause.pid = pid;
      cause.uid = peer->uid;
      cause.who = CommandOf(pid);
      break;
    }
    return cause;
  }

 private:
  static constexpr size_t kRemembered = 256;
  const Log log_;
  mutable std::mutex mutex_;
  std::deque<ucred> peers_;
};

class AdminServer::Service final : public admin::v1::Admin::Service {
 public:
  Service(AdminBackend& backend, WatchHub& hub, const Callers& callers)
      : backend_(backend), hub_(hub), callers_(callers) {}

  grpc::Status GetStatus(ServerContext*, const admin::v1::GetStatusRequest*,
                         admin::v1::Status* reply) override {
    return Ask<admin::v1::Status>(
        [this](auto answer) { backend_.BeginStatus(std::move(answer)); }, reply);
  }

  grpc::Status Watch(ServerContext* context, const admin::v1::WatchRequest*,
                     grpc::ServerWriter<admin::v1::WatchEvent>* out) override {
    // Before the snapshot, so that nothing falls between the two.
    WatchHub::Watcher watcher(hub_);
    admin::v1::WatchEvent first;
    const grpc::Status asked = GetStatus(context, nullptr, first.mutable_status());
    if (!asked.ok()) return asked;
    if (!out->Write(first)) return grpc::Status::CANCELLED;
    // The client's leaving ends it; the daemon's does not: the receipt is still to come.
    std::stop_source gone;
    const Call call = Call::Of(*context);
    call.OnLeave([gone, leaving = [call] { return call.leaving(); }]() mutable {
      if (!leaving()) gone.request_stop();
    });
    while (const auto event = watcher.Next(gone.get_token())) {
      if (!out->Write(*event)) break;
    }
    return grpc::Status::OK;
  }

  grpc::Status Shutdown(ServerContext* context, const admin::v1::ShutdownRequest* request,
                        admin::v1::ShutdownReply* reply) override {
    if (request->delay_s() < 0 || request->grace_s() < 0 || request->cancel_s() < 0) {
      return {grpc::StatusCode::INVALID_ARGUMENT, "a length must not be negative"};
    }
    const Cause by = callers_.Identify(*context, request->reason());
    return Ask<admin::v1::ShutdownReply>(
        [this, request = *request, by](auto answer) { answer(backend_.Shutdown(request, by)); },
        reply);
  }

  grpc::Status Reload(ServerContext* context, const admin::v1::ReloadRequest* request,
                      admin::v1::ReloadReply* reply) override {
    const Cause by = callers_.Identify(*context, request->reason());
    return Change([this, request = *request, by](
                      auto answer) { backend_.BeginReload(request, by, std::move(answer)); },
                  reply);
  }

  grpc::Status Restart(ServerContext* context, const admin::v1::RestartRequest* request,
                       admin::v1::ReloadReply* reply) override {
    const Cause by = callers_.Identify(*context, request->reason());
    return Change([this, request = *request, by](
                      auto answer) { backend_.BeginRestart(request, by, std::move(answer)); },
                  reply);
  }

  grpc::Status SetDraining(ServerContext* context, const admin::v1::SetDrainingRequest* request,
                           admin::v1::SetDrainingReply* reply) override {
    const Cause by = callers_.Identify(*context, request->reason());
    Result<bool> changed;
    const grpc::Status asked = Ask<Result<bool>>(
        [this, request = *request, by](auto answer) { answer(backend_.SetDraining(request, by)); },
        &changed);
    if (!asked.ok()) return asked;
    if (!changed) return ToGrpc(changed.error());
    reply->set_changed(*changed);
    return grpc::Status::OK;
  }

  grpc::Status SetLogLevel(ServerContext* context, const admin::v1::SetLogLevelRequest* request,
                           admin::v1::SetLogLevelReply* reply) override {
    const Cause by = callers_.Identify(*context, "");
    Result<std::string> previous;
    const grpc::Status asked = Ask<Result<std::string>>(
        [this, level = request->level(), by](auto answer) {
          answer(backend_.SetLogLevel(level, by));
        },
        &previous);
    if (!asked.ok()) return asked;
    if (!previous) return ToGrpc(previous.error());
    reply->set_previous(*previous);
    return grpc::Status::OK;
  }

  grpc::Status GetConfig(ServerContext*, const admin::v1::GetConfigRequest*,
                         admin::v1::GetConfigReply* reply) override {
    return Ask<admin::v1::GetConfigReply>([this](auto answer) { answer(backend_.EffectiveConfig()); },
                                          reply);
  }

  grpc::Status GetVersion(ServerContext*, const admin::v1::GetVersionRequest*,
                          admin::v1::Version* reply) override {
    reply->set_lastcall(LASTCALL_VERSION);
    reply->set_grpc(grpc::Version());
    reply->set_protobuf(google::protobuf::internal::VersionString(GOOGLE_PROTOBUF_VERSION));
    reply->set_compiler(__VERSION__);
    reply->set_plugin_abi(kPluginAbi);
    return grpc::Status::OK;
  }

 private:
  // A change takes as long as it takes; a shutdown ends it, and with it the waiting.
  template <class Question>
  grpc::Status Change(Question question, admin::v1::ReloadReply* reply) {
    Result<admin::v1::ReloadReply> done;
    const grpc::Status asked =
        Ask<Result<admin::v1::ReloadReply>>(std::move(question), &done, kForever);
    if (!asked.ok()) return asked;
    if (!done) return ToGrpc(done.error());
    *reply = std::move(*done);
    return grpc::Status::OK;
  }

  // Asks in the loop's thread and waits here, in the call's own, for the answer.
  template <class Answer, class Question>
  grpc::Status Ask(Question question, Answer* answer, Duration patience = kLoopPatience) {
    auto promise = std::make_shared<std::promise<Answer>>();
    std::future<Answer> future = promise->get_future();
    backend_.Post([question = std::move(question), promise] {
      question([promise](Answer value) { promise->set_value(std::move(value)); });
    });
    const Instant by = After(std::chrono::steady_clock::now(), patience);
    if (future.wait_until(by) != std::future_status::ready) return Stopped();
    *answer = future.get();
    return grpc::Status::OK;
  }

  AdminBackend& backend_;
  WatchHub& hub_;
  const Callers& callers_;
};

AdminServer::AdminServer() = default;
AdminServer::~AdminServer() = default;

Result<std::unique_ptr<AdminServer>> AdminServer::Start(Listener listener, AdminBackend& backend,
                                                        WatchHub& hub, const Clock& clock,
                                                        Log log) {
  std::unique_ptr<AdminServer> admin(new AdminServer);
  admin->callers_ = std::make_unique<Callers>(log);
  admin->service_ = std::make_unique<Service>(backend, hub, *admin->callers_);
  ServerOptions options;
  options.name = "admin";
  options.listeners.push_back(std::move(listener));
  options.services = {admin->service_.get()};
  options.limits.connections = 128;
  options.limits.threads = kThreads;
  options.limits.message = 64 << 10;
  options.admit = [callers = admin->callers_.get()](int fd) { return callers->Admit(fd); };
  options.warn = [log](const std::string& what) { log(LogLevel::kWarning, what); };
  auto server = Server::Start(std::move(options), clock, Termination());
  if (!server) return tl::unexpected(server.error());
  admin->server_ = std::move(*server);
  admin->server_->SetServing(true);
  admin->server_->Accept(true);
  return admin;
}

void AdminServer::BeginRetire(bool last_call, std::function<void()> retired) {
  server_->BeginRetire({.hurried = true, .last_call = last_call}, std::move(retired));
}

void AdminServer::Cancel() { server_->Cancel(); }

}  // namespace lastcall
