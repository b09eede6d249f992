#include "lastcall/rpc/canary.h"

#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/impl/codegen/server_callback_handlers.h>
#include <grpcpp/support/method_handler.h>
#include <grpcpp/support/server_interceptor.h>
#include <sys/random.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <functional>
#include <mutex>
#include <string>
#include <utility>

#include "lastcall/rpc/unpolled_queue.h"

namespace lastcall {
namespace {

using grpc::ByteBuffer;
using grpc::internal::RpcMethod;
using grpc::internal::RpcServiceMethod;

// gRPC finds a method by the host that a call names as well. Nobody knows this one: to everybody else
// the method is not there, and they are told so by gRPC itself, in the same words and at the same cost
// as of any other. 128 random bits.
std::string SecretHost() {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::array<unsigned char, 16> random{};
  // Only before the kernel has gathered any randomness would it wait; so few bytes come all at once.
  if (getrandom(random.data(), random.size(), 0) != static_cast<ssize_t>(random.size()))
    std::abort();
  std::string host;
  for (const unsigned char each : random) {
    host += kDigits[each >> 4U];
    host += kDigits[each & 15U];
  }
  return host;
}

// A message of no bytes; one that is none would be a fault.
ByteBuffer Nothing() {
  const grpc::Slice empty;
  return {&empty, 1};
}

// The method. It has no descriptor, and messages that nobody looks into.
class ProbeService final : public grpc::Service {
 public:
  explicit ProbeService(bool callback) {
    if (callback) {
      AddMethod(new RpcServiceMethod(Canary::kMethod, RpcMethod::NORMAL_RPC, nullptr));
      MarkMethodCallback(
          0, new grpc::internal::CallbackUnaryHandler<ByteBuffer, ByteBuffer>(
                 [](grpc::CallbackServerContext* context, const ByteBuffer*, ByteBuffer* answer) {
                   *answer = Nothing();
                   grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
                   reactor->Finish(grpc::Status::OK);
                   return reactor;
                 }));
    } else {
      AddMethod(new RpcServiceMethod(
          Canary::kMethod, RpcMethod::NORMAL_RPC,
          new grpc::internal::RpcMethodHandler<ProbeService, ByteBuffer, ByteBuffer>(
              [](ProbeService*, grpc::ServerContext*, const ByteBuffer*, ByteBuffer* answer) {
                *answer = Nothing();
                return grpc::Status::OK;
              },
              this)));
    }
  }
};

// A probe at our end.
struct Probe {
  grpc::ClientContext context;
  ByteBuffer answer;
  grpc::Status status;
  std::unique_ptr<grpc::GenericClientAsyncResponseReader> reader;
};

}  // namespace

class Canary::Core {
 public:
  explicit Core(const Clock& clock) : clock_(clock) {}

  void Register(grpc::ServerBuilder& builder, const std::vector<grpc::Service*>& services) {
    bool callback = false, synchronous = false;
    for (const grpc::Service* service : services) {
      callback = callback || service->has_callback_methods();
      synchronous = synchronous || service->has_synchronous_methods();
    }
    if (!callback && !synchronous) return;
    callback_ = callback;
    service_ = std::make_unique<ProbeService>(callback);
    builder.RegisterService(host_, service_.get());
  }

  bool Open(grpc::Server& server) {
    if (service_ == nullptr) return false;
    server_ = &server;
    // Our end has no thread: nobody waits in this queue, it is looked into. gRPC completes what is in the
    // process in the thread of whoever answers, so that nothing has to be polled for it.
    queue_ = MakeUnpolledQueue();
    Connect();
    std::lock_guard lock(mutex_);
    open_ = true;
    due_ = clock_.Now() + kPeriod;
    return true;
  }

  bool BeginProbe(std::function<void()> answered) {
    std::lock_guard lock(turn_);
    if (turns_ended_ || !OnAnswer(std::move(answered))) return false;
    Turn(clock_.Now(), kPeriod);
    return true;
  }

  void EndTurns() {
    std::lock_guard lock(turn_);
    turns_ended_ = true;
  }

  Instant TakeTurn(Instant due, Duration period) {
    std::lock_guard lock(turn_);
    return Turn(due, period);
  }

  void SendAway(const std::function<void()>& send) {
    std::lock_guard lock(turn_);
    send();
    sent_away_ = true;
  }

  void Close() {
    if (queue_ == nullptr) return;
    {
      std::lock_guard lock(mutex_);
      open_ = false;
    }
    Abandon();
    queue_->Shutdown();
    void* tag = nullptr;
    bool ok = false;
    while (queue_->Next(&tag, &ok)) delete static_cast<Probe*>(tag);
    channel_ = nullptr;
    queue_ = nullptr;
  }

  bool waits_for_callbacks() const { return callback_ && outstanding(); }

  std::optional<CanaryReport> report() const {
    std::lock_guard lock(mutex_);
    if (!open_) return std::nullopt;
    CanaryReport report{
        full_ ? CanaryReport::State::kFull : CanaryReport::State::kOk, callback_, latency_, {}};
    if (overdue_) {
      report.state = CanaryReport::State::kOverdue;
      report.since = sent_ + LateBy(due_);
    }
    return report;
  }

  // Threads: the server's.
  void Heard(bool full) {
    if (const auto answered = NoteAnswer(full)) answered();
  }

 private:
  Instant Turn(Instant due, Duration period) {
    Reclaim();
    // On a connection that was sent away none would ever be answered, nor would one that has ended already.
    const bool lost = std::exchange(sent_away_, false) || (probe_ == nullptr && outstanding());
    if (lost) {
      Abandon();
      Connect();
    }
    const Instant next = DueAfter(due, clock_.Now(), period);
    Judge(due, next, lost);
    if (probe_ == nullptr) Send();
    return next;
  }

  // Whom the next answer is told; false: there will be none.
  bool OnAnswer(std::function<void()> answered) {
    std::lock_guard lock(mutex_);
    if (open_) answered_ = std::move(answered);
    return open_;
  }

  // Returns who is to be told.
  std::function<void()> NoteAnswer(bool full) {
    std::lock_guard lock(mutex_);
    if (!std::exchange(outstanding_, false)) return nullptr;
    full_ = full;
    const Duration late = LateBy(due_);
    // Of a probe that was under way while the process did not run nothing can be said.
    if (overdue_ || (!doubtful_ && late == Duration::zero())) {
      latency_ = clock_.Now() - sent_ - late;
    }
    overdue_ = false;
    return std::exchange(answered_, nullptr);
  }

  // By how much that is in the past, if it is by too much.
  Duration LateBy(Instant due) const {
    const Duration late = clock_.Now() - due;
    return late > kLate ? late : Duration::zero();
  }

  // What is to be thought of a probe that was not answered by this turn. `lost`: it could not be.
  void Judge(Instant due, Instant next, bool lost) {
    std::lock_guard lock(mutex_);
    due_ = next;
    if (!outstanding_) return;
    const Duration late = LateBy(due);
    if (overdue_) {
      sent_ += late;
    } else if (late > Duration::zero()) {
      sent_ = clock_.Now();  // its time begins anew
      doubtful_ = true;
    } else if (!lost && clock_.Now() - sent_ >= kLate) {
      overdue_ = true;
    }
  }

  bool outstanding() const {
    std::lock_guard lock(mutex_);
    return outstanding_;
  }

  void Connect() {
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_ENABLE_CHANNELZ, 0);
    arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);
    channel_ = server_->InProcessChannel(arguments);
  }

  void Send() {
    {
      std::lock_guard lock(mutex_);
      outstanding_ = true;
      if (!overdue_) {
        sent_ = clock_.Now();
        doubtful_ = false;
      }
    }
    probe_ = new Probe;
    probe_->context.set_authority(host_);
    probe_->reader = grpc::GenericStub(channel_).PrepareUnaryCall(&probe_->context, kMethod,
                                                                  Nothing(), queue_.get());
    probe_->reader->StartCall();
    probe_->reader->Finish(&probe_->answer, &probe_->status, probe_);
  }

  void Abandon() {
    if (probe_ != nullptr) probe_->context.TryCancel();
    probe_ = nullptr;
  }

  // Frees the probes that are over.
  void Reclaim() {
    void* tag = nullptr;
    bool ok = false;
    while (queue_->AsyncNext(&tag, &ok, gpr_inf_past(GPR_CLOCK_MONOTONIC)) ==
           grpc::CompletionQueue::GOT_EVENT) {
      if (tag == probe_) probe_ = nullptr;
      delete static_cast<Probe*>(tag);
    }
  }

  const Clock& clock_;
  const std::string host_ = SecretHost();
  std::unique_ptr<ProbeService> service_;
  bool callback_ = false;  // its method's kind
  // Of who takes the turns. gRPC 1.51 calls a function that is not there, and the process with it is gone,
  // where a call begins on a connection inside the process that the server has closed: none does.
  std::mutex turn_;
  grpc::Server* server_ = nullptr;
  std::unique_ptr<grpc::CompletionQueue> queue_;
  std::shared_ptr<grpc::Channel> channel_;
  Probe* probe_ = nullptr;  // the queue's, until it is over; null: none is under way
  bool sent_away_ = false;
  bool turns_ended_ = false;

  mutable std::mutex mutex_;
  bool open_ = false;
  Instant due_;               // the next turn
  bool outstanding_ = false;  // a probe is not answered
  Instant sent_;
  bool doubtful_ = false;  // the process did not run meanwhile
  bool overdue_ = false;
  bool full_ = false;
  std::optional<Duration> latency_;
  std::function<void()> answered_;  // whom to tell of the next answer
};

namespace {

// Hears the answer as the server gives it, in the server's thread.
template <class Core>
class Ear final : public grpc::experimental::Interceptor {
 public:
  explicit Ear(Core& core) : core_(core) {}
  void Intercept(grpc::experimental::InterceptorBatchMethods* methods) override {
    using grpc::experimental::InterceptionHookPoints;
    if (methods->QueryInterceptionHookPoint(InterceptionHookPoints::PRE_SEND_STATUS)) {
      core_.Heard(methods->GetSendStatus().error_code() == grpc::StatusCode::RESOURCE_EXHAUSTED);
    }
    methods->Proceed();
  }

 private:
  Core& core_;
};

}  // namespace

Canary::Canary(const Clock& clock) : core_(std::make_unique<Core>(clock)) {}
Canary::~Canary() { Close(); }
void Canary::Register(grpc::ServerBuilder& builder, const std::vector<grpc::Service*>& services) {
  core_->Register(builder, services);
}
bool Canary::Sent(const char* method) const { return method == Canary::kMethod; }
grpc::experimental::Interceptor* Canary::NewInterceptor() { return new Ear<Core>(*core_); }
bool Canary::Open(grpc::Server& server) { return core_->Open(server); }
Instant Canary::TakeTurn(Instant due, Duration period) { return core_->TakeTurn(due, period); }
bool Canary::BeginProbe(std::function<void()> answered) {
  return core_->BeginProbe(std::move(answered));
}
void Canary::EndTurns() { core_->EndTurns(); }
void Canary::SendAway(const std::function<void()>& send) { core_->SendAway(send); }
bool Canary::waits_for_callbacks() const { return core_->waits_for_callbacks(); }
Instant Canary::DueAfter(Instant due, Instant now, Duration period) {
  const Duration behind = std::max(now - due, Duration::zero());
  return due + (behind / period + 1) * period;
}
void Canary::Close() { core_->Close(); }
std::optional<CanaryReport> Canary::report() const { return core_->report(); }

}  // namespace lastcall
