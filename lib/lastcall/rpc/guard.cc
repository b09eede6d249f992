#include "lastcall/rpc/guard.h"

#include <grpcpp/server_context.h>
#include <unistd.h>

#include <atomic>
#include <utility>

namespace lastcall {
namespace {

using grpc::experimental::InterceptionHookPoints;
using grpc::experimental::InterceptorBatchMethods;

// The handler's own thread; 0 for a callback method, whose reactor has none.
pid_t HandlerThread(const grpc::ServerContextBase* context) {
  if (dynamic_cast<const grpc::CallbackServerContext*>(context) != nullptr) return 0;
  static thread_local const pid_t id = gettid();
  return id;
}

// One for each call; gRPC destroys it when the call is over.
// Threads: one after another, as gRPC hands the call on. `handed_on_` says so once more, by release
// and acquire, for a thread sanitizer that sees nothing of what an uninstrumented gRPC does.
class Guarded final : public grpc::experimental::Interceptor {
 public:
  Guarded(std::shared_ptr<LiveCall> call, const grpc::ServerContextBase* context)
      : call_(std::move(call)), context_(context) {
    handed_on_.store(true, std::memory_order_release);
  }
  ~Guarded() override {
    handed_on_.load(std::memory_order_acquire);
    call_->End();
  }

  void Intercept(InterceptorBatchMethods* methods) override {
    handed_on_.load(std::memory_order_acquire);
    // Returned before anything else: the context must be alive while the registry looks at it.
    if (methods->QueryInterceptionHookPoint(InterceptionHookPoints::PRE_SEND_STATUS)) {
      call_->Returned();
    } else if (methods->QueryInterceptionHookPoint(InterceptionHookPoints::POST_RECV_CLOSE)) {
      // A sync handler's comes from within its own IsCancelled, and is the registry's to ask for.
      if (thread_ == 0 && context_->IsCancelled()) call_->ClientGone();
    } else if (!started_ && methods->QueryInterceptionHookPoint(
                                InterceptionHookPoints::POST_RECV_INITIAL_METADATA)) {
      started_ = true;
      thread_ = HandlerThread(context_);
      call_->Started(thread_);
    }
    handed_on_.store(true, std::memory_order_release);
    methods->Proceed();
  }

 private:
  const std::shared_ptr<LiveCall> call_;
  const grpc::ServerContextBase* const context_;
  bool started_ = false;
  pid_t thread_ = 0;
  std::atomic<bool> handed_on_{false};
};

class Guard final : public grpc::experimental::ServerInterceptorFactoryInterface {
 public:
  explicit Guard(CallRegistry& calls) : calls_(calls) {}

  grpc::experimental::Interceptor* CreateServerInterceptor(
      grpc::experimental::ServerRpcInfo* info) override {
    if (IsHousekeeping(info->method())) return nullptr;
    return new Guarded(calls_.Begin(info->server_context(), info->method()),
                       info->server_context());
  }

 private:
  CallRegistry& calls_;
};

}  // namespace

bool IsHousekeeping(std::string_view method) {
  return method.starts_with("/grpc.health.v1.Health/") || method.starts_with("/grpc.reflection.");
}

std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface> MakeGuard(
    CallRegistry& calls) {
  return std::make_unique<Guard>(calls);
}

}  // namespace lastcall
