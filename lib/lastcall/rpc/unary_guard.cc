#include "lastcall/rpc/unary_guard.h"

#include <grpcpp/impl/call.h>
#include <grpcpp/impl/call_hook.h>
#include <grpcpp/impl/call_op_set.h>
#include <grpcpp/server_context.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <typeinfo>
#include <utility>

#include "lastcall/rpc/grpc_privates.h"
#include "lastcall/rpc/live_call.h"

namespace lastcall {
namespace {

using grpc::internal::CallHook;
using grpc::internal::CallOpSetInterface;
using grpc::internal::MethodHandler;
using grpc::internal::RpcMethod;
using grpc::internal::RpcServiceMethod;
using GrpcCall = grpc::internal::Call;

// What a unary handler of either API ends with, and what gRPC's own do.
using Answer = grpc::internal::CallOpSet<grpc::internal::CallOpSendInitialMetadata,
                                         grpc::internal::CallOpSendMessage,
                                         grpc::internal::CallOpServerSendStatus>;
using NoAnswer = grpc::internal::CallOpSet<grpc::internal::CallOpSendInitialMetadata,
                                           grpc::internal::CallOpServerSendStatus>;

// As an interceptor would be shown it: nothing of it changes.
grpc::Status StatusOf(grpc::internal::CallOpServerSendStatus& end) {
  struct Shown : grpc::internal::CallOpServerSendStatus {
    using CallOpServerSendStatus::SetInterceptionHookPoint;
  };
  grpc::internal::InterceptorBatchMethodsImpl shown;
  (end.*&Shown::SetInterceptionHookPoint)(&shown);
  return shown.GetSendStatus();
}

// Null: they are not the end of a call. What they are may have been compiled in a plugin, but is of the same
// name then.
grpc::internal::CallOpServerSendStatus* EndIn(CallOpSetInterface& ops) {
  if (typeid(ops) == typeid(Answer)) return &static_cast<Answer&>(ops);
  if (typeid(ops) == typeid(NoAnswer)) return &static_cast<NoAnswer&>(ops);
  return nullptr;
}

// One guarded call. A handler is given a call of gRPC's that comes by here with what it sends.
// Threads: one after another, as gRPC hands the call on; see Guarded in guard.cc for `handed_on_`.
class UnaryCall final : public CallHook {
 public:
  UnaryCall(CallRegistry& calls, CountedMethod& method,
            const MethodHandler::HandlerParameter& given, pid_t thread)
      : calls_(calls),
        given_(*given.call),
        ours_(given_.call(), this, given_.cq(), given_.max_receive_message_size(),
              given_.server_rpc_info()),
        next_(given.call_requester),
        call_(calls.Begin(given.server_context, method, CallKind::kUnary, thread)) {
    call_->progress().Received(given.request != nullptr, call_->began());
    handed_on_.store(true, std::memory_order_release);
  }
  ~UnaryCall() override {
    handed_on_.load(std::memory_order_acquire);
    calls_.End(*call_);
  }

  GrpcCall* ours() { return &ours_; }
  std::function<void()> next() { return std::move(next_); }
  const std::shared_ptr<LiveCall>& call() const { return call_; }

  void PerformOpsOnCall(CallOpSetInterface* ops, GrpcCall*) override {
    handed_on_.load(std::memory_order_acquire);
    if (auto* const end = EndIn(*ops)) {
      const Instant now = calls_.clock().Now();
      call_->progress().Writes(now);
      // Before the answer is given away: the context must be alive while the registry looks at it.
      call_->GaveStatus(StatusOf(*end), now);
      call_->Returned();
      handed_on_.store(true, std::memory_order_release);
    }
    // It may all be over when this returns, in another thread.
    GrpcCall given = given_;
    given.PerformOps(ops);
  }

 private:
  CallRegistry& calls_;
  const GrpcCall given_;
  GrpcCall ours_;
  std::function<void()> next_;  // what asks for the method's next call
  const std::shared_ptr<LiveCall> call_;
  std::atomic<bool> handed_on_{false};
};

pid_t ThisThread() {
  static thread_local const pid_t id = gettid();
  return id;
}

// A handler that is another's, with something around it.
class Around : public MethodHandler {
 public:
  explicit Around(MethodHandler& inner) : inner_(inner) {}
  void RunHandler(const HandlerParameter& parameter) override { inner_.RunHandler(parameter); }
  void* Deserialize(grpc_call* call, grpc_byte_buffer* request, grpc::Status* status,
                    void** handler_data) override {
    return inner_.Deserialize(call, request, status, handler_data);
  }

 protected:
  MethodHandler& inner_;
};

class SyncUnary final : public Around {
 public:
  SyncUnary(MethodHandler& inner, CallRegistry& calls, CountedMethod& method)
      : Around(inner), calls_(calls), method_(method) {}
  void RunHandler(const HandlerParameter& given) override {
    UnaryCall call(calls_, method_, given, ThisThread());
    inner_.RunHandler({call.ours(), given.server_context, given.request, given.status,
                       given.internal_data, given.call_requester});
  }

 private:
  CallRegistry& calls_;
  CountedMethod& method_;
};

// The handler makes a reactor, which is at work until gRPC asks for the method's next call.
class CallbackUnary final : public Around {
 public:
  CallbackUnary(MethodHandler& inner, CallRegistry& calls, CountedMethod& method)
      : Around(inner), calls_(calls), method_(method) {}
  void RunHandler(const HandlerParameter& given) override {
    auto* const call = new UnaryCall(calls_, method_, given, 0);
    const std::shared_ptr<LiveCall> live = call->call();
    live->RunsIn(ThisThread());
    inner_.RunHandler({call->ours(), given.server_context, given.request, given.status,
                       given.internal_data, [call] {
                         const auto next = call->next();
                         delete call;
                         next();
                       }});
    live->RunsIn(0);
  }

 private:
  CallRegistry& calls_;
  CountedMethod& method_;
};

class Refusal final : public MethodHandler {
 public:
  Refusal(std::unique_ptr<MethodHandler> inner, CallRegistry& calls, const UnaryGuard& guard,
          const UnaryGuard::Refused& refused)
      : inner_(std::move(inner)), calls_(calls), guard_(guard), refused_(refused) {
    made_.store(true, std::memory_order_release);
  }
  void RunHandler(const HandlerParameter& given) override {
    made_.load(std::memory_order_acquire);
    const char* const method = given.call->server_rpc_info()->method();
    refused_(method);
    // Of any other the guard's interceptor knows.
    if (!guard_.Guards(method)) return inner_->RunHandler(given);
    SyncUnary(*inner_, calls_, calls_.Method(method)).RunHandler(given);
  }
  void* Deserialize(grpc_call* call, grpc_byte_buffer* request, grpc::Status* status,
                    void** handler_data) override {
    made_.load(std::memory_order_acquire);
    return inner_->Deserialize(call, request, status, handler_data);
  }

 private:
  const std::unique_ptr<MethodHandler> inner_;
  CallRegistry& calls_;
  const UnaryGuard& guard_;
  const UnaryGuard::Refused& refused_;
  std::atomic<bool> made_{false};  // as `handed_on_`
};

bool IsCallback(const RpcServiceMethod& method) {
  return method.api_type() == RpcServiceMethod::ApiType::CALL_BACK ||
         method.api_type() == RpcServiceMethod::ApiType::RAW_CALL_BACK;
}

MethodHandler* WrapperOf(const RpcServiceMethod& method, CallRegistry& calls) {
  MethodHandler& inner = *method.handler();
  if (method.method_type() != RpcMethod::NORMAL_RPC) return new Around(inner);
  calls.AddMethod(method.name());
  CountedMethod& counted = calls.Method(method.name());
  if (IsCallback(method)) return new CallbackUnary(inner, calls, counted);
  return new SyncUnary(inner, calls, counted);
}

}  // namespace

// A service with the same methods. gRPC asks a service for nothing else.
class UnaryGuard::Wrapped final : public grpc::Service {
 public:
  Wrapped(const grpc::Service& service, CallRegistry& calls) {
    for (const auto& method : MethodsOf(service)) {
      auto* const wrapped =
          new RpcServiceMethod(method->name(), method->method_type(), WrapperOf(*method, calls));
      wrapped->SetServerApiType(method->api_type());
      AddMethod(wrapped);
    }
  }
};

UnaryGuard::UnaryGuard(CallRegistry& calls, Refused refused)
    : calls_(calls), refused_(std::move(refused)) {}
UnaryGuard::~UnaryGuard() = default;

grpc::Service& UnaryGuard::Wrap(grpc::Service& service) {
  if (service.has_generic_methods() || service.has_async_methods()) return service;
  services_.push_back(std::make_unique<Wrapped>(service, calls_));
  for (const auto& method : MethodsOf(*services_.back())) {
    if (method->method_type() == RpcMethod::NORMAL_RPC) methods_.push_back(method->name());
  }
  std::sort(methods_.begin(), methods_.end(), std::less<>());
  return *services_.back();
}

void UnaryGuard::WatchRefusals(grpc::Server& server) {
  auto& handler = RefusalHandlerOf(server);
  if (handler == nullptr) return;
  handler = std::make_unique<Refusal>(std::move(handler), calls_, *this, refused_);
}

bool UnaryGuard::Guards(const char* method) const {
  return std::binary_search(methods_.begin(), methods_.end(), method, std::less<>());
}

}  // namespace lastcall
