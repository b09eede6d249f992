#include "lastcall/rpc/live_call.h"

#include <grpc/grpc.h>
#include <grpc/support/time.h>
#include <grpcpp/server_context.h>

#include <string>
#include <utility>

#include "lastcall/base/peer_text.h"
#include "lastcall/base/safe_text.h"

namespace lastcall {
namespace {

std::string PeerOf(const grpc::ServerContextBase& context) {
  return SafeText(PeerText(context.peer()), kMaxSafeName);
}

std::string IdentityOf(const grpc::ServerContextBase& context) {
  const auto names = context.auth_context()->GetPeerIdentity();
  if (names.empty()) return "";
  return SafeText(std::string(names.front().data(), names.front().size()), kMaxSafeName);
}

Instant DeadlineOf(const grpc::ServerContextBase& context) {
  const gpr_timespec given = context.raw_deadline();
  if (gpr_time_cmp(given, gpr_inf_future(given.clock_type)) == 0) return kNever;
  // gRPC's monotonic clock is the machine's.
  const gpr_timespec deadline = gpr_convert_clock_type(given, GPR_CLOCK_MONOTONIC);
  return Instant(std::chrono::seconds(deadline.tv_sec) +
                 std::chrono::nanoseconds(deadline.tv_nsec));
}

}  // namespace

void LiveCall::Started(pid_t thread) {
  std::lock_guard lock(mutex_);
  started_ = true;
  thread_.store(thread, std::memory_order_relaxed);
}

void LiveCall::TellToLeave() { Signal(true); }

void LiveCall::ClientGone() { Signal(false); }

void LiveCall::Signal(bool leaving) {
  std::vector<std::function<void()>> callbacks;
  std::stop_source stop(std::nostopstate);
  std::stop_source gone(std::nostopstate);
  {
    std::lock_guard lock(mutex_);
    if (ended_) return;
    if (leaving) leaving_.store(true, std::memory_order_release);
    if (!leaving && !std::exchange(gone_, true)) gone = gone_stop_;
    if (!std::exchange(signalled_, true)) {
      callbacks.swap(callbacks_);
      stop = stop_;
    }
  }
  gone.request_stop();
  stop.request_stop();
  for (const auto& callback : callbacks) callback();
}

void LiveCall::GaveStatus(const grpc::Status& status, Instant now) {
  const Instant deadline = DeadlineOf(*context_);
  const bool late = deadline <= now;
  const Duration duration = now - identity_.began;
  if (!method_.finished.Wants(duration, late || !status.ok())) return;
  FinishedCall call{.number = identity_.number,
                    .client = PeerOf(*context_),
                    .status = static_cast<int>(status.error_code()),
                    .message = status.error_message(),
                    .ended = now,
                    .duration = duration};
  if (const std::string identity = IdentityOf(*context_); !identity.empty()) {
    call.client += " " + identity;
  }
  if (late && (status.ok() || status.error_code() == grpc::StatusCode::CANCELLED)) {
    call.status = grpc::StatusCode::DEADLINE_EXCEEDED;
    call.message = "the handler returned after the client's deadline";
  }
  method_.finished.Add(std::move(call));
}

void LiveCall::Returned() {
  std::lock_guard lock(mutex_);
  // What a stream has written may wait for its client yet, and be cancelled for it.
  if (started_ && !returned_ && identity_.kind != CallKind::kUnary) held_ = Held();
  returned_ = true;
}

void LiveCall::Ended() {
  std::vector<std::function<void()>> dropped;  // goes after the lock: it is others' code
  grpc_call* held = nullptr;
  {
    std::lock_guard lock(mutex_);
    returned_ = ended_ = true;
    dropped.swap(callbacks_);
    std::swap(held, held_);
  }
  if (held != nullptr) grpc_call_unref(held);
}

grpc_call* LiveCall::Held() const {
  if (ended_ || !started_) return nullptr;
  grpc_call* const call = returned_ ? held_ : context_->c_call();
  if (call != nullptr) grpc_call_ref(call);
  return call;
}

bool LiveCall::Cancel(const std::string& why) {
  grpc_call* call = nullptr;
  {
    std::lock_guard lock(mutex_);
    call = Held();
  }
  if (call == nullptr) return false;
  // Outside the lock: it may tell this call that it is cancelled.
  grpc_call_cancel_with_status(call, GRPC_STATUS_CANCELLED, why.c_str(), nullptr);
  grpc_call_unref(call);
  return true;
}

bool LiveCall::PollClient() {
  {
    std::lock_guard lock(mutex_);
    client_watched_ = ClientMatters();
    if (!client_watched_) return false;
    if (!context_->IsCancelled()) return true;
  }
  ClientGone();
  return false;
}

bool LiveCall::ClientMatters() const {
  return !returned_ && !gone_ && (!signalled_ || gone_stop_.stop_possible());
}

void LiveCall::NeedClientWatch() {
  // Of a reactor's stream gRPC tells the guard.
  const bool told = thread_ == 0 && identity_.kind != CallKind::kUnary;
  if (client_watched_ || !started_ || told || !ClientMatters()) return;
  client_watched_ = true;
  // Under the lock, without which the call may end, and the watch go.
  client_watch_.Add([weak = weak_from_this()] {
    const auto call = weak.lock();
    return call != nullptr && call->PollClient();
  });
}

std::stop_token LiveCall::token() {
  std::lock_guard lock(mutex_);
  if (!stop_.stop_possible()) {
    stop_ = std::stop_source();
    // A source that nobody has a callback on: they would run under the lock. One that was there
    // before is Signal's to stop.
    if (signalled_) stop_.request_stop();
  }
  NeedClientWatch();
  return stop_.get_token();
}

std::stop_token LiveCall::gone_token() {
  std::lock_guard lock(mutex_);
  if (!gone_stop_.stop_possible()) {
    gone_stop_ = std::stop_source();
    if (gone_) gone_stop_.request_stop();  // as above
  }
  NeedClientWatch();
  return gone_stop_.get_token();
}

void LiveCall::OnLeave(std::function<void()> callback) {
  {
    std::lock_guard lock(mutex_);
    if (ended_) return;
    if (!signalled_) {
      callbacks_.push_back(std::move(callback));
      NeedClientWatch();
      return;
    }
  }
  callback();
}

Instant LiveCall::cancel_instant() const {
  std::lock_guard lock(mutex_);
  return returned_ ? kNever : termination_.instant(Stage::kCancel);
}

CallWaits LiveCall::waits() const {
  const CallWaits waits = progress_.waits();
  return returned_ && waits != CallWaits::kClient ? CallWaits::kFinish : waits;
}

std::optional<CallInfo> LiveCall::info() const {
  std::lock_guard lock(mutex_);
  if (ended_) return std::nullopt;
  CallInfo info{.number = identity_.number,
                .method = method_.name,
                .kind = identity_.kind,
                .began = identity_.began,
                .received = progress_.received(),
                .sent = progress_.sent(),
                .progressed = progress_.at(),
                .waits = waits(),
                .told = leaving(),
                .thread = thread(),
                .runs_in = runs_in()};
  if (!started_ || returned_) return info;
  // Asked for only here: it would cost every call copies of strings.
  info.peer = PeerOf(*context_);
  info.identity = IdentityOf(*context_);
  info.deadline = DeadlineOf(*context_);
  return info;
}

}  // namespace lastcall
