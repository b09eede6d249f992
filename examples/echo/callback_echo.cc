// The echo service on gRPC's callback API: no thread of gRPC's waits, and a stream hears by OnLeave
// that it is time to leave. What blocks does so on the plugin's offload.
#include <grpcpp/alarm.h>
#include <lastcall/plugin.h>
#include <lastcall/plugin/offload_grpc.h>
#include <unistd.h>

#include <chrono>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>

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
  explicit CallbackEchoPlugin(PluginHost& host) : offload_(host.offload()) {}

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

  grpc::ServerUnaryReactor* Block(CallbackServerContext* context, const CallbackRequest* request,
                                  CallbackReply* reply) override {
    return BeginUnary(
        offload_, *context, *request, *reply,
        [](const CallbackRequest& asked, CallbackReply& answer, const std::stop_token&) {
          BlockFor(asked);
          answer = Reply(asked, 0);
          return grpc::Status::OK;
        });
  }

  grpc::ServerWriteReactor<CallbackReply>* BlockingStream(CallbackServerContext* context,
                                                          const CallbackRequest* request) override {
    return BeginStream<CallbackReply>(
        offload_, *context,
        [asked = *request](StreamWriter<CallbackReply>& out, const std::stop_token&) {
          for (int number = 0; number < asked.count(); ++number) {
            BlockFor(asked);
            if (!out.Write(Reply(asked, number))) break;
          }
          return grpc::Status::OK;
        });
  }

 private:
  // As a driver does that knows no other way.
  static void BlockFor(const CallbackRequest& asked) {
    std::this_thread::sleep_for(std::chrono::milliseconds(asked.interval_ms()));
  }

  const Offload offload_;
};

}  // namespace
}  // namespace lastcall::example

LASTCALL_PLUGIN(lastcall::example::CallbackEchoPlugin, "1.0.0")
