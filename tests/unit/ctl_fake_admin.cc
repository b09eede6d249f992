#include "ctl_fake_admin.h"

#include <grpc/grpc.h>
#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <condition_variable>
#include <mutex>

#include "lastcall/admin/v1/admin.grpc.pb.h"

namespace lastcall {
namespace {

using namespace admin::v1;  // NOLINT: the names of the service

grpc::Status ToGrpc(const Error& error) {
  return {static_cast<grpc::StatusCode>(error.code), error.message};
}

}  // namespace

class FakeAdmin::Service final : public Admin::Service {
 public:
  Service(FakeAdmin* fake, const std::string& socket) : fake_(fake) {
    // For good: gRPC's end, with its last user, waits for up to ten seconds for the poller of a socket that
    // had no room for all of a long list at once.
    static const bool kept = (grpc_init(), true);
    static_cast<void>(kept);
    grpc::ServerBuilder builder;
    builder.AddListeningPort("unix:" + socket, grpc::InsecureServerCredentials());
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
  }

  ~Service() override {
    {
      const std::lock_guard lock(mutex_);
      ending_ = true;
    }
    changed_.notify_all();
    server_->Shutdown(std::chrono::system_clock::now());
    server_->Wait();
  }

  std::vector<std::string> asked() const {
    const std::lock_guard lock(mutex_);
    return asked_;
  }

  ShutdownRequest shutdown_request() const {
    const std::lock_guard lock(mutex_);
    return shutdown_request_;
  }

  ReloadRequest reload_request() const {
    const std::lock_guard lock(mutex_);
    return reload_request_;
  }

  RestartRequest restart_request() const {
    const std::lock_guard lock(mutex_);
    return restart_request_;
  }

  SetDrainingRequest draining_request() const {
    const std::lock_guard lock(mutex_);
    return draining_request_;
  }

  ListCallsRequest list_request() const {
    const std::lock_guard lock(mutex_);
    return list_request_;
  }

  GetCallRequest call_request() const {
    const std::lock_guard lock(mutex_);
    return call_request_;
  }

  std::vector<CancelCallsRequest> cancel_requests() const {
    const std::lock_guard lock(mutex_);
    return cancel_requests_;
  }

 private:
  grpc::Status GetStatus(grpc::ServerContext*, const GetStatusRequest*,
                         GetStatusResponse* response) override {
    Note("GetStatus");
    *response->mutable_status() = fake_->status;
    return ToGrpc(fake_->status_error);
  }

  grpc::Status Shutdown(grpc::ServerContext*, const ShutdownRequest* request,
                        ShutdownResponse* response) override {
    {
      const std::lock_guard lock(mutex_);
      shutdown_request_ = *request;
    }
    *response = fake_->shutdown_response;
    Note("Shutdown");
    if (fake_->shutdowns_refused > 0) {
      --fake_->shutdowns_refused;
      return {grpc::StatusCode::UNAVAILABLE, "another build takes over"};
    }
    return ToGrpc(fake_->error);
  }

  grpc::Status Reload(grpc::ServerContext*, const ReloadRequest* request,
                      ReloadResponse* response) override {
    {
      const std::lock_guard lock(mutex_);
      reload_request_ = *request;
    }
    *response = fake_->reload_response;
    return Change("Reload", request->refusal_in_response(), response);
  }

  grpc::Status Restart(grpc::ServerContext*, const RestartRequest* request,
                       RestartResponse* response) override {
    {
      const std::lock_guard lock(mutex_);
      restart_request_ = *request;
    }
    *response = fake_->restart_response;
    return Change("Restart", request->refusal_in_response(), response);
  }

  template <class Response>
  grpc::Status Change(const std::string& method, bool refusal_in_response, Response* response) {
    Note(method);
    if (fake_->error.code == Code::kOk || !refusal_in_response) return ToGrpc(fake_->error);
    response->Clear();
    response->mutable_refusal()->set_code(static_cast<int>(fake_->error.code));
    response->mutable_refusal()->set_message(fake_->error.message);
    return grpc::Status::OK;
  }

  grpc::Status SetDraining(grpc::ServerContext*, const SetDrainingRequest* request,
                           SetDrainingResponse* response) override {
    {
      const std::lock_guard lock(mutex_);
      draining_request_ = *request;
    }
    Note("SetDraining");
    *response = fake_->draining_response;
    return ToGrpc(fake_->error);
  }

  grpc::Status ListCalls(grpc::ServerContext*, const ListCallsRequest* request,
                         grpc::ServerWriter<ListCallsResponse>* writer) override {
    {
      const std::lock_guard lock(mutex_);
      list_request_ = *request;
    }
    Note("ListCalls");
    if (fake_->error.code != Code::kOk) return ToGrpc(fake_->error);
    for (const ListCallsResponse& part : NextList()) writer->Write(part);
    return grpc::Status::OK;
  }

  grpc::Status GetCall(grpc::ServerContext*, const GetCallRequest* request,
                       GetCallResponse* response) override {
    {
      const std::lock_guard lock(mutex_);
      call_request_ = *request;
    }
    Note("GetCall");
    *response = fake_->call;
    return ToGrpc(fake_->error.code == Code::kOk ? fake_->call_error : fake_->error);
  }

  grpc::Status CancelCalls(grpc::ServerContext*, const CancelCallsRequest* request,
                           CancelCallsResponse* response) override {
    {
      const std::lock_guard lock(mutex_);
      cancel_requests_.push_back(*request);
    }
    Note("CancelCalls");
    *response = fake_->cancel_response;
    return ToGrpc(fake_->error);
  }

  grpc::Status GetConfig(grpc::ServerContext*, const GetConfigRequest*,
                         GetConfigResponse* response) override {
    *response = fake_->config;
    return ToGrpc(fake_->error);
  }

  grpc::Status SetLogLevel(grpc::ServerContext*, const SetLogLevelRequest*,
                           SetLogLevelResponse* response) override {
    *response = fake_->log_level_response;
    return ToGrpc(fake_->error);
  }

  grpc::Status GetVersion(grpc::ServerContext*, const GetVersionRequest*,
                          GetVersionResponse* response) override {
    *response = fake_->version;
    return ToGrpc(fake_->error);
  }

  grpc::Status Watch(grpc::ServerContext*, const WatchRequest*,
                     grpc::ServerWriter<WatchResponse>* writer) override {
    Note("Watch");
    for (const Step& step : NextScript()) {
      switch (step.kind) {
        case Step::Kind::kSend: writer->Write(step.event); break;
        case Step::Kind::kAwaitShutdown: Await("Shutdown"); break;
        case Step::Kind::kHold: Await("never"); break;
        case Step::Kind::kEnd: return ToGrpc(step.error);
      }
    }
    return grpc::Status::OK;
  }

  Script NextScript() {
    const std::lock_guard lock(mutex_);
    if (fake_->scripts.empty()) return {Send(fake_->status), Hold()};
    Script script = fake_->scripts.front();
    fake_->scripts.pop_front();
    return script;
  }

  std::vector<ListCallsResponse> NextList() {
    const std::lock_guard lock(mutex_);
    if (fake_->lists.empty()) return {};
    std::vector<ListCallsResponse> parts = fake_->lists.front();
    if (fake_->lists.size() > 1) fake_->lists.pop_front();
    return parts;
  }

  void Await(const std::string& method) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] {
      return ending_ || std::find(asked_.begin(), asked_.end(), method) != asked_.end();
    });
  }

  void Note(const std::string& method) {
    {
      const std::lock_guard lock(mutex_);
      asked_.push_back(method);
    }
    changed_.notify_all();
  }

  FakeAdmin* fake_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  bool ending_ = false;
  std::vector<std::string> asked_;
  ShutdownRequest shutdown_request_;
  ReloadRequest reload_request_;
  RestartRequest restart_request_;
  SetDrainingRequest draining_request_;
  ListCallsRequest list_request_;
  GetCallRequest call_request_;
  std::vector<CancelCallsRequest> cancel_requests_;
  std::unique_ptr<grpc::Server> server_;
};

FakeAdmin::Step FakeAdmin::Send(const Status& status) {
  Step step;
  *step.event.mutable_status() = status;
  return step;
}

FakeAdmin::Step FakeAdmin::Send(const ReceiptEvent& receipt) {
  Step step;
  *step.event.mutable_receipt() = receipt;
  return step;
}

FakeAdmin::Step FakeAdmin::GiveWay() {
  Step step;
  step.event.mutable_handover();
  return step;
}

FakeAdmin::FakeAdmin(const std::string& socket)
    : service_(std::make_unique<Service>(this, socket)) {}
FakeAdmin::~FakeAdmin() = default;

std::vector<std::string> FakeAdmin::asked() const { return service_->asked(); }
ShutdownRequest FakeAdmin::shutdown_request() const { return service_->shutdown_request(); }
ReloadRequest FakeAdmin::reload_request() const { return service_->reload_request(); }
RestartRequest FakeAdmin::restart_request() const { return service_->restart_request(); }
SetDrainingRequest FakeAdmin::draining_request() const { return service_->draining_request(); }
ListCallsRequest FakeAdmin::list_request() const { return service_->list_request(); }
GetCallRequest FakeAdmin::call_request() const { return service_->call_request(); }
std::vector<CancelCallsRequest> FakeAdmin::cancel_requests() const {
  return service_->cancel_requests();
}

}  // namespace lastcall
