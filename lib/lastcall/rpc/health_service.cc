#include "lastcall/rpc/health_service.h"

#include <grpcpp/alarm.h>
#include <grpcpp/grpcpp.h>
#include <pthread.h>

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "grpc/health/v1/health.grpc.pb.h"
#include "lastcall/event/gate.h"
#include "lastcall/rpc/unpolled_queue.h"

namespace lastcall {
namespace {

using ::grpc::health::v1::Health;
using ::grpc::health::v1::HealthCheckRequest;
using ::grpc::health::v1::HealthCheckResponse;
using ::grpc::health::v1::HealthListRequest;
using ::grpc::health::v1::HealthListResponse;

// What a completion queue carries: what to do when the operation is over. `made` says again what
// gRPC guarantees, that it is done after it was made: thread sanitizers cannot see into gRPC.
struct Step {
  std::function<void(bool ok)> run;
  std::atomic<bool> made{false};
};

Step* Tag(std::function<void(bool ok)> run) {
  auto* const step = new Step{std::move(run)};
  step->made.store(true, std::memory_order_release);
  return step;
}

HealthCheckResponse Response(HealthBoard::Status status) {
  HealthCheckResponse response;
  switch (status) {
    case HealthBoard::Status::kServing: response.set_status(HealthCheckResponse::SERVING); break;
    case HealthBoard::Status::kNotServing:
      response.set_status(HealthCheckResponse::NOT_SERVING);
      break;
    case HealthBoard::Status::kUnknown:
      response.set_status(HealthCheckResponse::SERVICE_UNKNOWN);
      break;
  }
  return response;
}

// One Watch. At most one operation of its writer is in progress; what changes meanwhile is written
// when that is over. Everything below runs under mutex_.
class WatchCall : public std::enable_shared_from_this<WatchCall> {
 public:
  explicit WatchCall(HealthBoard& board) : board_(board) {}

  grpc::ServerContext context;
  HealthCheckRequest request;
  grpc::ServerAsyncWriter<HealthCheckResponse> writer{&context};

  void Begin() {
    auto subscription = board_.Subscribe([weak = weak_from_this()] {
      if (const auto self = weak.lock()) self->Changed();
    });
    std::lock_guard lock(mutex_);
    subscription_ = std::move(subscription);
    Advance();
  }

  void Changed() {
    std::lock_guard lock(mutex_);
    Advance();
  }

  void SendGoaway() {
    std::lock_guard lock(mutex_);
    ending_ = std::exchange(sent_away_, true) || last_ != HealthCheckResponse::SERVING;
    Advance();
  }

  // The last status, if there is a newer one, then the end.
  void End() {
    std::lock_guard lock(mutex_);
    ending_ = true;
    Advance();
  }

  // The client is gone, or the call is over.
  void Closed() {
    std::lock_guard lock(mutex_);
    closed_ = true;
    subscription_ = nullptr;
  }

 private:
  void Advance() {
    if (busy_ || closed_ || subscription_ == nullptr) return;
    const HealthCheckResponse now = Response(board_.StatusOf(request.service()));
    if (!written_ || now.status() != last_) {
      written_ = true;
      last_ = now.status();
      busy_ = true;
      writer.Write(now, Tag([self = shared_from_this()](bool ok) { self->Written(ok); }));
    } else if (ending_) {
      closed_ = true;
      writer.Finish({grpc::StatusCode::UNAVAILABLE, "the server is stopping"},
                    Tag([self = shared_from_this()](bool) {}));
    }
  }

  void Written(bool ok) {
    std::lock_guard lock(mutex_);
    busy_ = false;
    if (!ok) closed_ = true;
    Advance();
  }

  HealthBoard& board_;
  std::mutex mutex_;
  HealthBoard::Subscription subscription_;  // null: not begun, or closed
  bool busy_ = false;
  bool closed_ = false;
  bool sent_away_ = false;
  bool ending_ = false;
  bool written_ = false;
  HealthCheckResponse::ServingStatus last_ = HealthCheckResponse::UNKNOWN;
};

template <class Request, class Reply>
struct UnaryCall {
  ~UnaryCall() {
    if (begun != nullptr) begun->Leave();
  }
  void Begin(Gate& gate) {
    gate.Enter();
    begun = &gate;
  }

  Gate* begun = nullptr;
  grpc::ServerContext context;
  Request request;
  grpc::ServerAsyncResponseWriter<Reply> writer{&context};
};

}  // namespace

class HealthService::Core {
 public:
  Core(HealthBoard& board, std::function<void()> on_idle)
      : board_(board), gate_(std::move(on_idle)) {
    gate_.Watch();
  }

  int64_t in_flight() const { return gate_.in_flight(); }

  void Register(grpc::ServerBuilder& builder, bool others_poll) {
    builder.RegisterService(&service_);
    queue_ = builder.AddCompletionQueue(false);
    // Otherwise our thread would be the poller of the whole server, again and again, and every call pay for
    // a switch from it to its handler: a third more CPU, measured.
    if (others_poll) Unpoll(*queue_);
  }

  void Start() {
    started_ = true;
    AwaitCheck();
    AwaitList();
    AwaitWatch();
    thread_ = std::thread([this] {
      pthread_setname_np(pthread_self(), kHealthThread);
      Run();
    });
  }

  void SendGoaway() {
    for (const auto& watch : Living()) watch->SendGoaway();
  }

  void EndStreams() {
    for (const auto& watch : Living()) watch->End();
  }

  void Stop() {
    if (queue_ == nullptr || std::exchange(stopped_, true)) return;
    if (!started_) {
      queue_->Shutdown();
      Run();
      return;
    }
    // The queue is shut by its own thread, and nothing may begin an operation on it afterwards. At
    // once, without a timer: gRPC's sleep by the wall clock, for an hour when that jumps by one.
    grpc::Alarm alarm;
    alarm.Set(queue_.get(), gpr_inf_past(GPR_CLOCK_MONOTONIC), Tag([this](bool) {
                for (const auto& watch : Living()) watch->Closed();
                queue_->Shutdown();
              }));
    thread_.join();
  }

 private:
  std::vector<std::shared_ptr<WatchCall>> Living() {
    std::lock_guard lock(mutex_);
    std::vector<std::shared_ptr<WatchCall>> living;
    for (const auto& weak : watches_) {
      if (auto watch = weak.lock()) living.push_back(std::move(watch));
    }
    return living;
  }

  void Run() {
    void* tag = nullptr;
    bool ok = false;
    while (queue_->Next(&tag, &ok)) {
      const std::unique_ptr<Step> step(static_cast<Step*>(tag));
      step->made.load(std::memory_order_acquire);
      step->run(ok);
    }
  }

  void AwaitCheck() {
    auto call = std::make_shared<UnaryCall<HealthCheckRequest, HealthCheckResponse>>();
    service_.RequestCheck(&call->context, &call->request, &call->writer, queue_.get(), queue_.get(),
                          Tag([this, call](bool ok) {
                            if (!ok) return;  // the server is shutting down
                            call->Begin(gate_);
                            AwaitCheck();
                            const auto status = board_.StatusOf(call->request.service());
                            const auto done = Tag([call](bool) {});
                            if (status == HealthBoard::Status::kUnknown) {
                              call->writer.FinishWithError(
                                  {grpc::StatusCode::NOT_FOUND, "no such service on this server"},
                                  done);
                            } else {
                              call->writer.Finish(Response(status), grpc::Status::OK, done);
                            }
                          }));
  }

  void AwaitList() {
    auto call = std::make_shared<UnaryCall<HealthListRequest, HealthListResponse>>();
    service_.RequestList(&call->context, &call->request, &call->writer, queue_.get(), queue_.get(),
                         Tag([this, call](bool ok) {
                           if (!ok) return;
                           call->Begin(gate_);
                           AwaitList();
                           HealthListResponse all;
                           for (const auto& [service, status] : board_.List()) {
                             (*all.mutable_statuses())[service] = Response(status);
                           }
                           call->writer.Finish(all, grpc::Status::OK, Tag([call](bool) {}));
                         }));
  }

  void AwaitWatch() {
    auto watch = std::make_shared<WatchCall>(board_);
    // gRPC never returns this tag for a call that did not begin.
    Step* const done = Tag([watch](bool) { watch->Closed(); });
    watch->context.AsyncNotifyWhenDone(done);
    service_.RequestWatch(&watch->context, &watch->request, &watch->writer, queue_.get(),
                          queue_.get(), Tag([this, watch, done](bool ok) {
                            if (!ok) {
                              delete done;
                              return;
                            }
                            AwaitWatch();
                            BeginWatch(watch);
                          }));
  }

  void BeginWatch(const std::shared_ptr<WatchCall>& watch) {
    {
      std::lock_guard lock(mutex_);
      std::erase_if(watches_, [](const auto& weak) { return weak.expired(); });
      watches_.push_back(watch);
    }
    watch->Begin();
  }

  HealthBoard& board_;
  Gate gate_;
  Health::AsyncService service_;
  std::unique_ptr<grpc::ServerCompletionQueue> queue_;
  std::thread thread_;
  bool started_ = false;
  bool stopped_ = false;

  std::mutex mutex_;
  std::vector<std::weak_ptr<WatchCall>> watches_;
};

HealthService::HealthService(HealthBoard& board, std::function<void()> on_idle)
    : core_(std::make_unique<Core>(board, std::move(on_idle))) {}
HealthService::~HealthService() { core_->Stop(); }
void HealthService::Register(grpc::ServerBuilder& builder, bool others_poll) {
  core_->Register(builder, others_poll);
}
void HealthService::Start() { core_->Start(); }
void HealthService::SendGoaway() { core_->SendGoaway(); }
void HealthService::EndStreams() { core_->EndStreams(); }
int64_t HealthService::in_flight() const { return core_->in_flight(); }
void HealthService::Stop() { core_->Stop(); }

}  // namespace lastcall
