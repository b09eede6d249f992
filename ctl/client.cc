#include "client.h"

#include <grpcpp/create_channel_posix.h>
#include <grpcpp/grpcpp.h>

#include "lastcall/admin/v1/admin.grpc.pb.h"

namespace lastcall {
namespace {

using admin::v1::Admin;
using admin::v1::GetCallResponse;
using admin::v1::ListCallsRequest;
using admin::v1::ListCallsResponse;
using admin::v1::WatchResponse;

// gRPC takes wall-clock time.
std::chrono::system_clock::time_point GrpcDeadline(Deadline by, const Clock& clock) {
  const Duration left = by.Remaining(clock.Now());
  if (left == kForever) return std::chrono::system_clock::time_point::max();
  return std::chrono::system_clock::now() +
         std::chrono::duration_cast<std::chrono::system_clock::duration>(left);
}

tl::unexpected<Error> NoAnswerInTime() {
  return Fail(Code::kDeadlineExceeded, "lastcalld did not answer in time");
}

tl::unexpected<Error> FailWith(const grpc::Status& status) {
  const auto code = static_cast<Code>(status.error_code());
  switch (status.error_code()) {
    case grpc::DEADLINE_EXCEEDED: return NoAnswerInTime();
    case grpc::UNAVAILABLE:
      return Fail(code, "the connection to lastcalld broke: " + status.error_message() +
                            "; it has ended, or this user has too many connections to it (its log "
                            "says so)");
    case grpc::UNIMPLEMENTED:
      return Fail(code, "this lastcalld does not know the request; is it older than lastcallctl?");
    default: break;
  }
  return Fail(code, status.error_message().empty() ? "lastcalld failed without saying why"
                                                   : status.error_message());
}

template <class Response>
Result<Response> UnlessRefused(Result<Response> response) {
  if (!response || !response->has_refusal()) return response;
  return Fail(static_cast<Code>(response->refusal().code()), response->refusal().message());
}

}  // namespace

// A channel made from a connected descriptor never reconnects, so that a daemon that is gone is an
// answer at once instead of a series of attempts.
class AdminClient::State {
 public:
  State(UniqueFd connection, const Clock& clock) : clock_(clock) {
    grpc::ChannelArguments arguments;
    arguments.SetMaxReceiveMessageSize(-1);
    arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);
    stub_ = Admin::NewStub(
        grpc::CreateCustomInsecureChannelFromFd("lastcalld", connection.Release(), arguments));
  }

  template <class Request, class Response>
  Result<Response> Call(grpc::Status (Admin::Stub::*method)(grpc::ClientContext*, const Request&,
                                                            Response*),
                        const Request& request, Deadline by) {
    Response response;
    const grpc::Status status = Ask(method, request, &response, by);
    if (!status.ok()) return FailWith(status);
    return response;
  }

  template <class Request, class Response>
  grpc::Status Ask(grpc::Status (Admin::Stub::*method)(grpc::ClientContext*, const Request&,
                                                       Response*),
                   const Request& request, Response* response, Deadline by) {
    grpc::ClientContext context;
    context.set_deadline(GrpcDeadline(by, clock_));
    return ((*stub_).*method)(&context, request, response);
  }

  Result<ListCallsResponse> ListCalls(const ListCallsRequest& request, Deadline by) {
    grpc::ClientContext context;
    context.set_deadline(GrpcDeadline(by, clock_));
    const auto reader = stub_->ListCalls(&context, request);
    ListCallsResponse all, part;
    while (reader->Read(&part)) all.MergeFrom(part);
    if (const grpc::Status status = reader->Finish(); !status.ok()) return FailWith(status);
    if (!all.complete())
      return Fail(Code::kDataLoss, "lastcalld ended its list of calls too early");
    return all;
  }

  Admin::Stub& stub() { return *stub_; }
  const Clock& clock() const { return clock_; }

 private:
  const Clock& clock_;
  std::unique_ptr<Admin::Stub> stub_;
};

// One operation is always in progress; Next waits for it on a queue that only its caller polls, since
// a synchronous Read could not be given up at a deadline.
class WatchStream::State {
 public:
  State(Admin::Stub& stub, const Clock& clock) : clock_(clock) {
    reader_ = stub.PrepareAsyncWatch(&context_, admin::v1::WatchRequest(), &queue_);
    reader_->StartCall(this);
  }

  ~State() {
    context_.TryCancel();
    queue_.Shutdown();
    void* tag = nullptr;
    bool ok = false;
    while (queue_.Next(&tag, &ok)) continue;
  }

  Result<std::optional<WatchResponse>> Next(Deadline by) {
    while (step_ != Step::kOver) {
      void* tag = nullptr;
      bool ok = false;
      if (queue_.AsyncNext(&tag, &ok, GrpcDeadline(by, clock_)) !=
          grpc::CompletionQueue::GOT_EVENT) {
        return NoAnswerInTime();
      }
      if (std::optional<WatchResponse> event = Completed(ok)) return event;
    }
    if (!status_.ok()) return FailWith(status_);
    return std::nullopt;
  }

 private:
  enum class Step { kStarting, kReading, kFinishing, kOver };

  std::optional<WatchResponse> Completed(bool ok) {
    std::optional<WatchResponse> event;
    if (step_ == Step::kFinishing) {
      step_ = Step::kOver;
    } else if (!ok) {
      step_ = Step::kFinishing;
      reader_->Finish(&status_, this);
    } else {
      if (step_ == Step::kReading) event = std::exchange(event_, WatchResponse());
      step_ = Step::kReading;
      reader_->Read(&event_, this);
    }
    return event;
  }

  const Clock& clock_;
  grpc::ClientContext context_;
  grpc::CompletionQueue queue_;
  std::unique_ptr<grpc::ClientAsyncReader<WatchResponse>> reader_;
  Step step_ = Step::kStarting;
  WatchResponse event_;
  grpc::Status status_;
};

WatchStream::WatchStream(std::unique_ptr<State> state) : state_(std::move(state)) {}
WatchStream::WatchStream(WatchStream&&) noexcept = default;
WatchStream::~WatchStream() = default;

Result<std::optional<WatchResponse>> WatchStream::Next(Deadline by) { return state_->Next(by); }

AdminClient::AdminClient(UniqueFd connection, const Clock& clock)
    : state_(std::make_unique<State>(std::move(connection), clock)) {}
AdminClient::AdminClient(AdminClient&&) noexcept = default;
AdminClient::~AdminClient() = default;

Result<admin::v1::Status> AdminClient::GetStatus(Deadline by) {
  return state_->Call(&Admin::Stub::GetStatus, admin::v1::GetStatusRequest(), by)
      .map([](const admin::v1::GetStatusResponse& response) { return response.status(); });
}

Result<admin::v1::ShutdownResponse> AdminClient::Shutdown(const admin::v1::ShutdownRequest& request,
                                                          Deadline by) {
  return state_->Call(&Admin::Stub::Shutdown, request, by);
}

Result<admin::v1::ReloadResponse> AdminClient::Reload(admin::v1::ReloadRequest request,
                                                      Deadline by) {
  request.set_refusal_in_response(true);
  return UnlessRefused(state_->Call(&Admin::Stub::Reload, request, by));
}

Result<admin::v1::RestartResponse> AdminClient::Restart(admin::v1::RestartRequest request,
                                                        Deadline by) {
  request.set_refusal_in_response(true);
  return UnlessRefused(state_->Call(&Admin::Stub::Restart, request, by));
}

Result<admin::v1::SetDrainingResponse> AdminClient::SetDraining(
    const admin::v1::SetDrainingRequest& request, Deadline by) {
  return state_->Call(&Admin::Stub::SetDraining, request, by);
}

Result<ListCallsResponse> AdminClient::ListCalls(const ListCallsRequest& request, Deadline by) {
  return state_->ListCalls(request, by);
}

Result<GetCallResponse> AdminClient::GetCall(const admin::v1::GetCallRequest& request,
                                             Deadline by) {
  GetCallResponse response;
  const grpc::Status status = state_->Ask(&Admin::Stub::GetCall, request, &response, by);
  if (status.ok()) return response;
  // A status says the same of the process and of a connection that broke. What goes through the daemon's
  // loop tells them apart.
  if (status.error_code() == grpc::UNAVAILABLE && GetConfig(by)) {
    return Fail(Code::kAborted, status.error_message());
  }
  return FailWith(status);
}

Result<admin::v1::CancelCallsResponse> AdminClient::CancelCalls(
    const admin::v1::CancelCallsRequest& request, Deadline by) {
  return state_->Call(&Admin::Stub::CancelCalls, request, by);
}

Result<admin::v1::GetConfigResponse> AdminClient::GetConfig(Deadline by) {
  return state_->Call(&Admin::Stub::GetConfig, admin::v1::GetConfigRequest(), by);
}

Result<admin::v1::SetLogLevelResponse> AdminClient::SetLogLevel(
    const admin::v1::SetLogLevelRequest& request, Deadline by) {
  return state_->Call(&Admin::Stub::SetLogLevel, request, by);
}

Result<admin::v1::GetVersionResponse> AdminClient::GetVersion(Deadline by) {
  return state_->Call(&Admin::Stub::GetVersion, admin::v1::GetVersionRequest(), by);
}

WatchStream AdminClient::Watch() {
  return WatchStream(std::make_unique<WatchStream::State>(state_->stub(), state_->clock()));
}

}  // namespace lastcall
