// The admin service: what lastcallctl asks becomes a question to the loop, and its answer the response.
#pragma once

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

#include "daemon/admin/backend.h"
#include "daemon/admin/callers.h"
#include "daemon/admin/waiting_calls.h"
#include "daemon/admin/watch_hub.h"
#include "lastcall/admin/v1/admin.grpc.pb.h"

#include <lastcall/base/log.h>

namespace lastcall {

// As far as a status has room.
grpc::Status ToGrpc(const Error& error);

// For the callers of one role. Threads: any.
class AdminService final : public admin::v1::Admin::Service {
 public:
  AdminService(AdminBackend& backend, WatchHub& hub, AdminCallers& callers,
               const WaitingCalls::Limits& waiting, const Clock& clock, Log log)
      : backend_(backend),
        hub_(hub),
        callers_(callers),
        waiting_(waiting),
        clock_(clock),
        log_(std::move(log)) {}

  grpc::Status GetStatus(grpc::ServerContext* context, const admin::v1::GetStatusRequest*,
                         admin::v1::GetStatusResponse* response) override;
  grpc::Status Watch(grpc::ServerContext* context, const admin::v1::WatchRequest*,
                     grpc::ServerWriter<admin::v1::WatchResponse>* out) override;
  grpc::Status Shutdown(grpc::ServerContext* context, const admin::v1::ShutdownRequest* request,
                        admin::v1::ShutdownResponse* response) override;
  grpc::Status Reload(grpc::ServerContext* context, const admin::v1::ReloadRequest* request,
                      admin::v1::ReloadResponse* response) override;
  grpc::Status Restart(grpc::ServerContext* context, const admin::v1::RestartRequest* request,
                       admin::v1::RestartResponse* response) override;
  grpc::Status SetDraining(grpc::ServerContext* context,
                           const admin::v1::SetDrainingRequest* request,
                           admin::v1::SetDrainingResponse* response) override;
  grpc::Status SetLogLevel(grpc::ServerContext* context,
                           const admin::v1::SetLogLevelRequest* request,
                           admin::v1::SetLogLevelResponse* response) override;
  grpc::Status GetConfig(grpc::ServerContext* context, const admin::v1::GetConfigRequest*,
                         admin::v1::GetConfigResponse* response) override;
  grpc::Status GetVersion(grpc::ServerContext* context, const admin::v1::GetVersionRequest*,
                          admin::v1::GetVersionResponse* response) override;
  // In calls_service.cc.
  grpc::Status ListCalls(grpc::ServerContext* context, const admin::v1::ListCallsRequest* request,
                         grpc::ServerWriter<admin::v1::ListCallsResponse>* out) override;
  grpc::Status GetCall(grpc::ServerContext* context, const admin::v1::GetCallRequest* request,
                       admin::v1::GetCallResponse* response) override;
  grpc::Status CancelCalls(grpc::ServerContext* context,
                           const admin::v1::CancelCallsRequest* request,
                           admin::v1::CancelCallsResponse* response) override;

 private:
  // How long a question may wait for the loop, which never blocks.
  static constexpr auto kLoopPatience = std::chrono::seconds(5);

  // Whose call it is, when they may make it.
  tl::expected<Caller, grpc::Status> Allow(const grpc::ServerContext& context, Role needed,
                                           const std::string& what);
  // Whoever knocks at a closed door in a loop must not fill the log.
  void Refused(const Caller& caller, const std::string& what);
  // Every change is in the log with who asked, also one that comes to nothing. `what` is empty when it
  // changes nothing.
  Cause Note(const Caller& caller, const std::string& what, const std::string& reason);

  static grpc::Status Stopped();
  static admin::v1::Refusal RefusalOf(const Error& error);
  grpc::Status AskStatus(admin::v1::Status* status);
  grpc::Status AskCalls(CallsQuestions questions, CallsAnswers* answers);
  Moment now() const { return {clock_.Now(), clock_.Wall()}; }

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
      *response->mutable_refusal() = RefusalOf(done.error());
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

}  // namespace lastcall
