// The echo service on gRPC's callback API: no thread waits, and a stream hears by OnLeave that it
// is time to leave.
#include <grpcpp/alarm.h>
#include <lastcall/plugin.h>
#include <unistd.h>

#include <chrono>
#include <memory>
#include <mutex>
#include <optional>

#include "callback_echo.grpc.pb.h"

namespace lastcall::example {
namespace {

using grpc::CallbackServerContext;

CallbackReply Reply(const CallbackRequest& request, int number) {
  CallbackReply reply;
  reply.set_text(request.text());
  reply.set_number(number);
  reply.set_pid(getpid());
  return reply;
}

// One stream. It owns itself until OnDone; OnLeave, which may come later than that, holds it
// weakly. At each time either a write or the alarm is in progress, and what follows it decides
// whether to go on, so that Finish is called once.
class CountingStream final : public grpc::ServerWriteReactor<CallbackReply>,
                             public std::enable_shared_from_this<CountingStream> {
 public:
  static grpc::ServerWriteReactor<CallbackReply>* Start(CallbackServerContext* context,
                                                        const CallbackRequest& request) {
    auto stream = std::make_shared<CountingStream>(context, request);
    stream->self_ = stream;
    stream->call_.OnLeave([weak = std::weak_ptr(stream)] {
      if (const auto alive = weak.lock()) alive->CutShort();
    });
    stream->Next();
    return stream.get();
  }

  CountingStream(CallbackServerContext* context, const CallbackRequest& request)
      : context_(context), call_(Call::Of(*context)), request_(request) {}

  void OnWriteDone(bool ok) override {
    if (!ok) return Finish(grpc::Status::CANCELLED);
    if (!BeginPause()) Next();
  }
  void OnCancel() override { CutShort(); }
  void OnDone() override { self_.reset(); }

 private:
  void Next() {
    if (context_->IsCancelled()) return Finish(grpc::Status::CANCELLED);
    if (call_.leaving()) return Finish(call_.LeaveStatus());
    if (number_ >= request_.count()) return Finish(grpc::Status::OK);
    reply_ = Reply(request_, number_++);
    StartWrite(&reply_);
  }

  // False: there is nothing to wait for.
  bool BeginPause() {
    const std::lock_guard lock(mutex_);
    if (cut_short_ || request_.interval_ms() <= 0) return false;
    const auto until =
        std::chrono::system_clock::now() + std::chrono::milliseconds(request_.interval_ms());
    // A new alarm each time: the callback of the last may still be on its way out.
    alarm_.emplace().Set(until, [this](bool) { Next(); });
    return true;
  }

  // Ends the pause, so that Next looks why.
  void CutShort() {
    const std::lock_guard lock(mutex_);
    cut_short_ = true;
    if (alarm_) alarm_->Cancel();
  }

  CallbackServerContext* const context_;
  const Call call_;
  const CallbackRequest request_;
  CallbackReply reply_;
  int number_ = 0;

  std::mutex mutex_;  // of alarm_ and cut_short_
  bool cut_short_ = false;
  std::optional<grpc::Alarm> alarm_;
  std::shared_ptr<CountingStream> self_;
};

class CallbackEchoPlugin final : public Plugin, public CallbackEcho::CallbackService {
 public:
  explicit CallbackEchoPlugin(PluginHost&) {}

  std::vector<grpc::Service*> Services() override { return {this}; }

  grpc::ServerUnaryReactor* Unary(CallbackServerContext* context, const CallbackRequest* request,
                                  CallbackReply* reply) override {
    *reply = Reply(*request, 0);
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    reactor->Finish(grpc::Status::OK);
    return reactor;
  }

  grpc::ServerWriteReactor<CallbackReply>* ServerStream(CallbackServerContext* context,
                                                        const CallbackRequest* request) override {
    return CountingStream::Start(context, *request);
  }
};

}  // namespace
}  // namespace lastcall::example

LASTCALL_PLUGIN(lastcall::example::CallbackEchoPlugin, "1.0.0")
