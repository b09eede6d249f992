#include "lastcall/rpc/live_call.h"

#include <grpcpp/server_context.h>

#include <string>
#include <utility>

#include "lastcall/base/peer_text.h"
#include "lastcall/base/safe_text.h"

namespace lastcall {
namespace {

// Its address, and by which name its certificate knows it.
std::string PeerOf(const grpc::ServerContextBase& context) {
  std::string peer = PeerText(context.peer());
  const auto names = context.auth_context()->GetPeerIdentity();
  if (!names.empty()) peer += " " + std::string(names.front().data(), names.front().size());
  return SafeText(std::move(peer), kMaxSafeName);
}

}  // namespace

void LiveCall::Started(pid_t thread) {
  std::lock_guard lock(mutex_);
  started_ = true;
  thread_ = thread;
}

void LiveCall::TellToLeave() { Signal(true); }

void LiveCall::ClientGone() { Signal(false); }

void LiveCall::Signal(bool leaving) {
  std::vector<std::function<void()>> callbacks;
  std::stop_source stop(std::nostopstate);
  {
    std::lock_guard lock(mutex_);
    if (ended_) return;
    if (leaving) leaving_.store(true, std::memory_order_release);
    if (std::exchange(signalled_, true)) return;
    callbacks.swap(callbacks_);
    stop = stop_;
  }
  stop.request_stop();
  for (const auto& callback : callbacks) callback();
}

void LiveCall::Returned() {
  std::lock_guard lock(mutex_);
  returned_ = true;
}

void LiveCall::Ended() {
  std::vector<std::function<void()>> dropped;  // goes after the lock: it is others' code
  std::lock_guard lock(mutex_);
  returned_ = ended_ = true;
  dropped.swap(callbacks_);
}

bool LiveCall::PollClient() {
  {
    std::lock_guard lock(mutex_);
    if (returned_ || signalled_) return false;
    if (!context_->IsCancelled()) return true;
  }
  ClientGone();
  return false;
}

void LiveCall::NeedClientWatch() {
  if (client_watched_ || returned_ || signalled_ || thread_ == 0) return;
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

CallInfo LiveCall::info() const {
  std::lock_guard lock(mutex_);
  // Asked for only here: it would cost every call two copies of a string.
  const bool knows_peer = started_ && !returned_;
  return {method_.name, knows_peer ? PeerOf(*context_) : "", began_, leaving(), thread_};
}

}  // namespace lastcall
