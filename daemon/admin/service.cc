#include "daemon/admin/service.h"

#include <grpcpp/grpcpp.h>

#include <utility>

#include <lastcall/base/safe_text.h>
#include <lastcall/plugin/plugin.h>
#include <lastcall/rpc/call.h>

namespace lastcall {

namespace {

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

}  // namespace

grpc::Status ToGrpc(const Error& error) {
  return {static_cast<grpc::StatusCode>(error.code), Cut(SafeLines(error.message), kMostInStatus)};
}

grpc::Status AdminService::Stopped() {
  return {grpc::StatusCode::UNAVAILABLE, "lastcalld has stopped"};
}

admin::v1::Refusal AdminService::RefusalOf(const Error& error) {
  admin::v1::Refusal refusal;
  refusal.set_code(static_cast<int>(error.code));
  refusal.set_message(Cut(SafeLines(error.message), kMostInResponse));
  return refusal;
}

grpc::Status AdminService::GetStatus(grpc::ServerContext* context,
                                     const admin::v1::GetStatusRequest*,
                                     admin::v1::GetStatusResponse* response) {
  const auto caller = Allow(*context, Role::kObserver, "status");
  return caller ? AskStatus(response->mutable_status()) : caller.error();
}

grpc::Status AdminService::Watch(grpc::ServerContext* context, const admin::v1::WatchRequest*,
                                 grpc::ServerWriter<admin::v1::WatchResponse>* out) {
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

grpc::Status AdminService::Shutdown(grpc::ServerContext* context,
                                    const admin::v1::ShutdownRequest* request,
                                    admin::v1::ShutdownResponse* response) {
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

grpc::Status AdminService::Reload(grpc::ServerContext* context,
                                  const admin::v1::ReloadRequest* request,
                                  admin::v1::ReloadResponse* response) {
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

grpc::Status AdminService::Restart(grpc::ServerContext* context,
                                   const admin::v1::RestartRequest* request,
                                   admin::v1::RestartResponse* response) {
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

grpc::Status AdminService::SetDraining(grpc::ServerContext* context,
                                       const admin::v1::SetDrainingRequest* request,
                                       admin::v1::SetDrainingResponse* response) {
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

grpc::Status AdminService::SetLogLevel(grpc::ServerContext* context,
                                       const admin::v1::SetLogLevelRequest* request,
                                       admin::v1::SetLogLevelResponse* response) {
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

grpc::Status AdminService::GetConfig(grpc::ServerContext* context,
                                     const admin::v1::GetConfigRequest*,
                                     admin::v1::GetConfigResponse* response) {
  const auto caller = Allow(*context, Role::kObserver, "config");
  if (!caller) return caller.error();
  return Ask<admin::v1::GetConfigResponse>(
      [this](auto answer) { answer(backend_.EffectiveConfig()); }, response);
}

grpc::Status AdminService::GetVersion(grpc::ServerContext* context,
                                      const admin::v1::GetVersionRequest*,
                                      admin::v1::GetVersionResponse* response) {
  const auto caller = Allow(*context, Role::kObserver, "version");
  if (!caller) return caller.error();
  response->set_lastcall(LASTCALL_VERSION);
  response->set_grpc(grpc::Version());
  response->set_protobuf(google::protobuf::internal::VersionString(GOOGLE_PROTOBUF_VERSION));
  response->set_compiler(__VERSION__);
  response->set_plugin_abi(kPluginAbi);
  return grpc::Status::OK;
}

// Whose call it is, when they may make it.
tl::expected<Caller, grpc::Status> AdminService::Allow(const grpc::ServerContext& context,
                                                       Role needed, const std::string& what) {
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
void AdminService::Refused(const Caller& caller, const std::string& what) {
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
Cause AdminService::Note(const Caller& caller, const std::string& what, const std::string& reason) {
  const std::string why = SafeText(reason);
  if (!what.empty()) {
    log_(LogLevel::kInfo, "admin: " + what + " requested by " + callers_.Describe(caller) +
                              (why.empty() ? "" : ": " + why));
  }
  return CauseOf(caller, why);
}

grpc::Status AdminService::AskStatus(admin::v1::Status* status) {
  return Ask<admin::v1::Status>([this](auto answer) { backend_.BeginStatus(std::move(answer)); },
                                status);
}

}  // namespace lastcall
