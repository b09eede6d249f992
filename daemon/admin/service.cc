#include "daemon/admin/service.h"

#include <grpcpp/grpcpp.h>

#include <atomic>
#include <cstdint>
#include <future>
#include <mutex>
#include <optional>
#include <utility>

#include "daemon/admin/waiting_calls.h"
#include "lastcall/admin/v1/admin.grpc.pb.h"

#include <lastcall/base/safe_text.h>
#include <lastcall/plugin/plugin.h>
#include <lastcall/rpc/call.h>
#include <lastcall/rpc/peer_name.h>

namespace lastcall {
namespace {

using grpc::ServerContext;

// How long a question may wait for the loop, which never blocks.
constexpr auto kLoopPatience = std::chrono::seconds(5);

// What the callers of a role may have at once. Each call is a thread while it runs, one that waits
// for as long as it waits. Who finds no thread gets RESOURCE_EXHAUSTED, even where the answer would
// be that they may not ask: so there are more than calls that wait, than an observer alone can have
// in flight and than all strangers together can.
struct Measure {
  const char* name;
  int threads;
  uint32_t streams;  // of one connection
  WaitingCalls::Limits waiting;
};

Measure MeasureOf(Role role) {
  switch (role) {
    case Role::kOperator: return {"admin", 160, ServerLimits().streams, {64, 96}};
    case Role::kObserver:
      return {"admin for observers", static_cast<int>(AdminCallers::kOfUser) * 4 + 32, 4, {16, 96}};
    case Role::kStranger: break;
  }
  return {"admin for strangers", static_cast<int>(AdminCallers::kOfStrangers) * 2, 2, {0, 0}};
}
// How often the log says that somebody was refused.
constexpr Duration kWatchSilence = std::chrono::seconds(1);

// A status goes to its client as a header, "grpc-message", and clients take 8 KiB of headers by
// default: beyond that they hear RESOURCE_EXHAUSTED instead of what was said, whatever its code
// was.
constexpr size_t kMostInStatus = 4 << 10;
// They take messages of 4 MiB.
constexpr size_t kMostInResponse = 1 << 20;

// What a character of a status takes: most are written as "%E2".
size_t SizeInHeader(unsigned char c) { return c < 0x20 || c > 0x7E || c == '%' ? 3 : 1; }

// As far as there is room, which is counted as in a header, and at the end of a character.
std::string Cut(const std::string& text, size_t room) {
  size_t used = 0, end = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    if ((c & 0xC0) != 0x80) end = i;
    used += SizeInHeader(c);
    if (used > room) {
      return text.substr(0, end) + "... (" + std::to_string(text.size() - end) +
             " more bytes did not fit; see the log of lastcalld)";
    }
  }
  return text;
}

grpc::Status ToGrpc(const Error& error) {
  return {static_cast<grpc::StatusCode>(error.code), Cut(SafeLines(error.message), kMostInStatus)};
}

grpc::Status Stopped() { return {grpc::StatusCode::UNAVAILABLE, "lastcalld has stopped"}; }

}  // namespace

class AdminServer::Service final : public admin::v1::Admin::Service {
 public:
  Service(AdminBackend& backend, WatchHub& hub, AdminCallers& callers,
          const WaitingCalls::Limits& waiting, const Clock& clock, Log log)
      : backend_(backend),
        hub_(hub),
        callers_(callers),
        waiting_(waiting),
        clock_(clock),
        log_(std::move(log)) {}

  grpc::Status GetStatus(ServerContext* context, const admin::v1::GetStatusRequest*,
                         admin::v1::GetStatusResponse* response) override {
    const auto caller = Allow(*context, Role::kObserver, "status");
    return caller ? AskStatus(response->mutable_status()) : caller.error();
  }

  grpc::Status Watch(ServerContext* context, const admin::v1::WatchRequest*,
                     grpc::ServerWriter<admin::v1::WatchResponse>* out) override {
    const auto caller = Allow(*context, Role::kObserver, "watch");
    if (!caller) return caller.error();
    const auto place = waiting_.Enter(caller->uid);
    if (!place) return ToGrpc(place.error());
    // Before the snapshot, so that nothing falls between the two.
    WatchHub::Watcher watcher(hub_);
    admin::v1::WatchResponse first;
    const grpc::Status asked = AskStatus(first.mutable_status());
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
                        admin::v1::ShutdownResponse* response) override {
    const auto caller = Allow(*context, Role::kOperator, "shut down");
    if (!caller) return caller.error();
    for (const auto& [name, seconds] :
         {std::pair{"delay_s", request->delay_s()}, std::pair{"grace_s", request->grace_s()},
          std::pair{"cancel_s", request->cancel_s()}}) {
      if (IsLength(seconds)) continue;
      return {grpc::StatusCode::INVALID_ARGUMENT,
              std::string(name) + " must be 0 or more seconds, not " + std::to_string(seconds) +
                  "; infinity means no limit"};
    }
    const Cause by = Note(*caller, request->dry_run() ? "" : "shutdown", request->reason());
    return Ask<admin::v1::ShutdownResponse>(
        [this, request = *request, by](auto answer) { answer(backend_.Shutdown(request, by)); },
        response);
  }

  grpc::Status Reload(ServerContext* context, const admin::v1::ReloadRequest* request,
                      admin::v1::ReloadResponse* response) override {
    const auto caller = Allow(*context, Role::kOperator, "reload");
    if (!caller) return caller.error();
    const bool changes = !request->dry_run() && request->continues() == 0;
    const Cause by = Note(*caller, changes ? "reload" : "", request->reason());
    return Change(
        *caller, request->refusal_in_response(),
        [this, request = *request, by](auto answer) {
          backend_.BeginReload(request, by, std::move(answer));
        },
        response);
  }

  grpc::Status Restart(ServerContext* context, const admin::v1::RestartRequest* request,
                       admin::v1::RestartResponse* response) override {
    const auto caller = Allow(*context, Role::kOperator, "restart");
    if (!caller) return caller.error();
    admin::v1::RestartRequest asked = *request;
    asked.set_process(SafeText(asked.process(), kMaxSafeName));
    const Cause by = Note(*caller, "restart " + asked.process(), asked.reason());
    return Change(
        *caller, request->refusal_in_response(),
        [this, request = std::move(asked), by](auto answer) {
          backend_.BeginRestart(request, by, std::move(answer));
        },
        response);
  }

  grpc::Status SetDraining(ServerContext* context, const admin::v1::SetDrainingRequest* request,
                           admin::v1::SetDrainingResponse* response) override {
    const std::string verb = request->draining() ? "drain" : "undrain";
    const auto caller = Allow(*context, Role::kOperator, verb);
    if (!caller) return caller.error();
    admin::v1::SetDrainingRequest asked = *request;
    asked.set_server(SafeText(asked.server(), kMaxSafeName));
    const Cause by = Note(*caller, verb + " " + asked.server(), asked.reason());
    Result<bool> changed;
    const grpc::Status answered =
        Ask<Result<bool>>([this, request = std::move(asked),
                           by](auto answer) { answer(backend_.SetDraining(request, by)); },
                          &changed);
    if (!answered.ok()) return answered;
    if (!changed) return ToGrpc(changed.error());
    response->set_changed(*changed);
    return grpc::Status::OK;
  }

  grpc::Status SetLogLevel(ServerContext* context, const admin::v1::SetLogLevelRequest* request,
                           admin::v1::SetLogLevelResponse* response) override {
    const auto caller = Allow(*context, Role::kOperator, "set the log level");
    if (!caller) return caller.error();
    const std::string wanted = SafeText(request->level(), kMaxSafeName);
    const Cause by = Note(*caller, "log-level " + wanted, "");
    Result<std::string> previous;
    const grpc::Status asked = Ask<Result<std::string>>(
        [this, level = wanted, by](auto answer) { answer(backend_.SetLogLevel(level, by)); },
        &previous);
    if (!asked.ok()) return asked;
    if (!previous) return ToGrpc(previous.error());
    response->set_previous(*previous);
    return grpc::Status::OK;
  }

  grpc::Status GetConfig(ServerContext* context, const admin::v1::GetConfigRequest*,
                         admin::v1::GetConfigResponse* response) override {
    const auto caller = Allow(*context, Role::kObserver, "config");
    if (!caller) return caller.error();
    return Ask<admin::v1::GetConfigResponse>(
        [this](auto answer) { answer(backend_.EffectiveConfig()); }, response);
  }

  grpc::Status GetVersion(ServerContext* context, const admin::v1::GetVersionRequest*,
                          admin::v1::GetVersionResponse* response) override {
    const auto caller = Allow(*context, Role::kObserver, "version");
    if (!caller) return caller.error();
    response->set_lastcall(LASTCALL_VERSION);
    response->set_grpc(grpc::Version());
    response->set_protobuf(google::protobuf::internal::VersionString(GOOGLE_PROTOBUF_VERSION));
    response->set_compiler(__VERSION__);
    response->set_plugin_abi(kPluginAbi);
    return grpc::Status::OK;
  }

 private:
  // Whose call it is, when they may make it.
  tl::expected<Caller, grpc::Status> Allow(const ServerContext& context, Role needed,
                                           const std::string& what) {
    const auto caller = callers_.Identify(context.peer());
    if (!caller) {
      return tl::unexpected(grpc::Status(grpc::StatusCode::PERMISSION_DENIED,
                                         "permission denied: lastcalld cannot tell who asks"));
    }
    if (caller->role >= needed) return *caller;
    Refused(*caller, what);
    return tl::unexpected(ToGrpc({Code::kPermissionDenied, callers_.Denial(*caller, what)}));
  }

  // Whoever knocks at a closed door in a loop must not fill the log.
  void Refused(const Caller& caller, const std::string& what) {
    const Instant now = clock_.Now();
    std::unique_lock lock(mutex_);
    if (refused_at_ && now - *refused_at_ < kWatchSilence) {
      ++unsaid_;
      return;
    }
    refused_at_ = now;
    const int unsaid = std::exchange(unsaid_, 0);
    lock.unlock();
    log_(LogLevel::kWarning,
         "admin: denied " + what + " to " + callers_.Describe(caller) +
             (unsaid == 0 ? "" : "; and " + std::to_string(unsaid) + " more calls were refused"));
  }

  // Every change is in the log with who asked, also one that comes to nothing. `what` is empty when it
  // changes nothing.
  Cause Note(const Caller& caller, const std::string& what, const std::string& reason) {
    const std::string why = SafeText(reason);
    if (!what.empty()) {
      log_(LogLevel::kInfo, "admin: " + what + " requested by " + callers_.Describe(caller) +
                                (why.empty() ? "" : ": " + why));
    }
    return CauseOf(caller, why);
  }

  grpc::Status AskStatus(admin::v1::Status* status) {
    return Ask<admin::v1::Status>([this](auto answer) { backend_.BeginStatus(std::move(answer)); },
                                  status);
  }

  // A change takes as long as it takes; a shutdown ends it, and with it the waiting.
  template <class Question, class Response>
  grpc::Status Change(const Caller& caller, bool refusal_in_response, Question question,
                      Response* response) {
    const auto place = waiting_.Enter(caller.uid);
    if (!place) return ToGrpc(place.error());
    Result<Response> done;
    const grpc::Status asked = Ask<Result<Response>>(std::move(question), &done, kForever);
    if (!asked.ok()) return asked;
    if (!done && refusal_in_response) {
      response->mutable_refusal()->set_code(static_cast<int>(done.error().code));
      response->mutable_refusal()->set_message(
          Cut(SafeLines(done.error().message), kMostInResponse));
      return grpc::Status::OK;
    }
    if (!done) return ToGrpc(done.error());
    *response = std::move(*done);
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
  AdminCallers& callers_;
  WaitingCalls waiting_;
  const Clock& clock_;
  const Log log_;
  std::mutex mutex_;
  std::optional<Instant> refused_at_;  // when the log last said so
  int unsaid_ = 0;                     // since
};

AdminServer::AdminServer(Roles roles, const Clock& clock, Log log)
    : clock_(clock), log_(log), callers_(std::move(roles), clock, log) {}

AdminServer::~AdminServer() {
  for (const auto& acceptor : acceptors_) acceptor->BeginEnd(false);
  for (const auto& acceptor : acceptors_) acceptor->AwaitEnd();
  for (Entrance& entrance : entrances_) entrance.server = nullptr;
}

Result<std::unique_ptr<AdminServer>> AdminServer::Start(Listener listener, Roles roles,
                                                        AdminBackend& backend, WatchHub& hub,
                                                        const Clock& clock, Log log) {
  if (!PeerName::Works()) {
    return Fail(Code::kInternal,
                "admin: this program has a getpeername() of its own, so callers "
                "cannot be identified; build lastcalld without it");
  }
  std::unique_ptr<AdminServer> admin(new AdminServer(std::move(roles), clock, log));
  for (const Role role : {Role::kStranger, Role::kObserver, Role::kOperator}) {
    const Measure measure = MeasureOf(role);
    Entrance& entrance = admin->entrances_[static_cast<size_t>(role)];
    entrance.service =
        std::make_unique<Service>(backend, hub, admin->callers_, measure.waiting, clock, log);
    ServerOptions options;
    options.name = measure.name;
    options.services = {entrance.service.get()};
    options.limits.connections = 0;  // counted by whose they are
    options.limits.streams = measure.streams;
    options.limits.threads = static_cast<uint32_t>(measure.threads);
    options.limits.message = 64 << 10;
    options.warn = [log](const std::string& what) { log(LogLevel::kWarning, what); };
    auto server = Server::Start(std::move(options), clock, Termination());
    if (!server) return tl::unexpected(server.error());
    entrance.server = std::move(*server);
    entrance.server->SetServing(true);
  }
  admin->Listen(std::move(listener));
  return admin;
}

void AdminServer::SetRoles(Roles roles) { callers_.SetRoles(std::move(roles)); }

void AdminServer::Listen(Listener listener) {
  // Whoever connected to the one before is still taken in, in its own thread.
  if (!acceptors_.empty()) acceptors_.back()->BeginEnd(true);
  std::erase_if(acceptors_, [](const auto& acceptor) { return acceptor->ended(); });
  std::vector<Listener> listeners;
  listeners.push_back(std::move(listener));
  acceptors_.push_back(std::make_unique<Acceptor>(
      std::move(listeners),
      Acceptor::Callbacks{
          .accepted =
              [this](size_t, UniqueFd connection) {
                const auto admitted = callers_.Admit(connection.get());
                if (!admitted) return;
                entrances_[static_cast<size_t>(admitted->role)].server->Take(std::move(connection),
                                                                             admitted->name);
              },
          .has_room = [] { return true; },
          .warn =
              [log = log_](const std::string& what) { log(LogLevel::kWarning, "admin: " + what); }},
      clock_));
  acceptors_.back()->Resume();
}

void AdminServer::BeginRetire(bool last_call, std::function<void()> retired) {
  // Whoever is told below to come again must not be taken in here.
  if (!last_call) acceptors_.back()->Pause();
  acceptors_.back()->BeginEnd(last_call);
  const auto closed = [this] {
    for (const auto& acceptor : acceptors_) acceptor->AwaitEnd();
  };
  auto left = std::make_shared<std::atomic<size_t>>(entrances_.size());
  for (const Entrance& entrance : entrances_) {
    entrance.server->BeginRetire({.closed = closed}, [left, retired] {
      if (--*left == 0) retired();
    });
  }
}

void AdminServer::Cancel() {
  for (const auto& acceptor : acceptors_) acceptor->BeginEnd(false);
  for (const Entrance& entrance : entrances_) entrance.server->Cancel();
}

}  // namespace lastcall
