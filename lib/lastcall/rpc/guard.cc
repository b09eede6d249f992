#include "lastcall/rpc/guard.h"

#include <grpcpp/server_context.h>
#include <unistd.h>

#include <atomic>
#include <utility>

#include "lastcall/rpc/live_call.h"

namespace lastcall {
namespace {

using grpc::experimental::InterceptionHookPoints;
using grpc::experimental::InterceptorBatchMethods;

pid_t OwnThread() {
  static thread_local const pid_t id = gettid();
  return id;
}

// The handler's own thread; 0 for a callback method, whose reactor has none.
pid_t HandlerThread(const grpc::ServerContextBase* context) {
  return dynamic_cast<const grpc::CallbackServerContext*>(context) != nullptr ? 0 : OwnThread();
}

constexpr std::string_view kReflection = "/grpc.reflection.";

CallKind KindOf(grpc::experimental::ServerRpcInfo::Type type) {
  using Type = grpc::experimental::ServerRpcInfo::Type;
  switch (type) {
    case Type::UNARY: return CallKind::kUnary;
    case Type::CLIENT_STREAMING: return CallKind::kClientStream;
    case Type::SERVER_STREAMING: return CallKind::kServerStream;
    case Type::BIDI_STREAMING: break;
  }
  return CallKind::kBidiStream;
}

// One for each call; gRPC destroys it when the call is over.
// Threads: one after another, as gRPC hands the call on. `handed_on_` says so once more, by release
// and acquire, for a thread sanitizer that sees nothing of what an uninstrumented gRPC does.
class Guarded final : public grpc::experimental::Interceptor {
 public:
  Guarded(CallRegistry& calls, const grpc::experimental::ServerRpcInfo& info,
          grpc::ServerContextBase* context)
      : calls_(calls),
        context_(context),
        call_(calls.Begin(context, calls.Method(info.method()), KindOf(info.type()))) {
    handed_on_.store(true, std::memory_order_release);
  }
  ~Guarded() override {
    handed_on_.load(std::memory_order_acquire);
    calls_.End(*call_);
  }

  void Intercept(InterceptorBatchMethods* methods) override {
    handed_on_.load(std::memory_order_acquire);
    NoteProgress(*methods);
    // Returned before anything else: the context must be alive while the registry looks at it.
    if (methods->QueryInterceptionHookPoint(InterceptionHookPoints::PRE_SEND_STATUS)) {
      call_->GaveStatus(methods->GetSendStatus(), calls_.clock().Now());
      call_->Returned();
    } else if (methods->QueryInterceptionHookPoint(InterceptionHookPoints::POST_RECV_CLOSE)) {
      // A sync handler's comes from within its own IsCancelled, and is ClientWatch's to ask for.
      if (thread_ == 0 && context_->IsCancelled()) call_->ClientGone();
    } else if (!started_ && methods->QueryInterceptionHookPoint(
                                InterceptionHookPoints::POST_RECV_INITIAL_METADATA)) {
      started_ = true;
      thread_ = HandlerThread(context_);
      call_->Started(thread_);
      // gRPC runs the handler in here; for a callback method, until it has its reactor. This may be gone
      // afterwards.
      if (thread_ == 0) return RunReactor(*methods);
    }
    handed_on_.store(true, std::memory_order_release);
    methods->Proceed();
  }

 private:
  void RunReactor(InterceptorBatchMethods& methods) {
    const std::shared_ptr<LiveCall> call = call_;
    call->RunsIn(OwnThread());
    handed_on_.store(true, std::memory_order_release);
    methods.Proceed();
    call->RunsIn(0);
  }

  void NoteProgress(InterceptorBatchMethods& methods) {
    CallProgress& progress = call_->progress();
    if (methods.QueryInterceptionHookPoint(InterceptionHookPoints::POST_RECV_MESSAGE)) {
      progress.Received(methods.GetRecvMessage() != nullptr, calls_.clock().Now());
    } else if (methods.GetRecvMessage() != nullptr) {
      progress.Reads();  // gRPC has no point of its own for it
    }
    if (methods.QueryInterceptionHookPoint(InterceptionHookPoints::POST_SEND_MESSAGE)) {
      progress.Sent(calls_.clock().Now());
    } else if (methods.QueryInterceptionHookPoint(InterceptionHookPoints::PRE_SEND_MESSAGE)) {
      progress.Writes(calls_.clock().Now());
    }
  }

  CallRegistry& calls_;
  const grpc::ServerContextBase* const context_;
  const std::shared_ptr<LiveCall> call_;
  bool started_ = false;
  pid_t thread_ = 0;
  std::atomic<bool> handed_on_{false};
};

// One for each call of the housekeeping, which is no work in flight; but a question of reflection that
// was read is, until it is answered.
class Counted final : public grpc::experimental::Interceptor {
 public:
  Counted(CallRegistry& calls, bool reflection) : calls_(calls), reflection_(reflection) {
    ++calls_.housekeeping();
    if (reflection_) ++calls_.reflections();
    handed_on_.store(true, std::memory_order_release);
  }
  ~Counted() override {
    handed_on_.load(std::memory_order_acquire);
    Answered();
    if (reflection_) --calls_.reflections();
    --calls_.housekeeping();
  }
  void Intercept(InterceptorBatchMethods* methods) override {
    handed_on_.load(std::memory_order_acquire);
    if (reflection_) {
      if (methods->QueryInterceptionHookPoint(InterceptionHookPoints::POST_SEND_MESSAGE)) {
        Answered();
      }
      if (methods->QueryInterceptionHookPoint(InterceptionHookPoints::POST_RECV_MESSAGE) &&
          methods->GetRecvMessage() != nullptr && !std::exchange(asked_, true)) {
        calls_.questions().Enter();
      }
    }
    handed_on_.store(true, std::memory_order_release);
    methods->Proceed();
  }

 private:
  void Answered() {
    if (std::exchange(asked_, false)) calls_.questions().Leave();
  }

  CallRegistry& calls_;
  const bool reflection_;
  bool asked_ = false;
  std::atomic<bool> handed_on_{false};
};

class Guard final : public grpc::experimental::ServerInterceptorFactoryInterface {
 public:
  Guard(CallRegistry& calls, const UnaryGuard& unary, Canary& canary)
      : calls_(calls), unary_(unary), canary_(canary) {}

  grpc::experimental::Interceptor* CreateServerInterceptor(
      grpc::experimental::ServerRpcInfo* info) override {
    if (unary_.Guards(info->method())) return nullptr;
    if (canary_.Sent(info->method())) return canary_.NewInterceptor();
    if (IsHousekeeping(info->method())) {
      return new Counted(calls_, std::string_view(info->method()).starts_with(kReflection));
    }
    return new Guarded(calls_, *info, info->server_context());
  }

 private:
  CallRegistry& calls_;
  const UnaryGuard& unary_;
  Canary& canary_;
};

}  // namespace

bool IsHousekeeping(std::string_view method) {
  return method.starts_with("/grpc.health.v1.Health/") || method.starts_with(kReflection);
}

std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface> MakeGuard(
    CallRegistry& calls, const UnaryGuard& unary, Canary& canary) {
  return std::make_unique<Guard>(calls, unary, canary);
}

}  // namespace lastcall
