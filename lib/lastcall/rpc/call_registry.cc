#include "lastcall/rpc/call_registry.h"

#include <grpcpp/server_context.h>

#include <algorithm>
#include <array>
#include <unordered_map>
#include <utility>

#include "lastcall/base/peer_text.h"
#include "lastcall/base/safe_text.h"
#include "lastcall/lifecycle/leave_turns.h"

namespace lastcall {
namespace {

// Where clients invent names (a generic service, and whatever a callback server does not know), all
// those beyond the first are counted together.
constexpr char kOtherMethods[] = "(others)";
// How late a sync handler's token may learn that its client is gone. gRPC tells sync handlers only
// when they ask (ServerContext::IsCancelled).
constexpr auto kClientPoll = std::chrono::milliseconds(50);

// Every call in flight in this process, by its context. The one global of the library: gRPC gives a
// handler nothing but its context, and Call::Of must find the call from there.
struct Shard {
  std::mutex mutex;
  std::unordered_map<const void*, std::shared_ptr<LiveCall>> calls;
};
constexpr size_t kShards = 32;

std::array<Shard, kShards>& Shards() {
  static auto* const shards = new std::array<Shard, kShards>;  // outlives every thread
  return *shards;
}

Shard& ShardOf(const void* context) {
  return Shards()[(reinterpret_cast<uintptr_t>(context) >> 6) % kShards];
}

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

void LiveCall::End() {
  // Kept alive here: the directory may hold the last reference.
  std::shared_ptr<LiveCall> self;
  {
    Shard& shard = ShardOf(context_);
    std::lock_guard lock(shard.mutex);
    const auto found = shard.calls.find(context_);
    // gRPC may have reused the context's memory already.
    if (found != shard.calls.end() && found->second.get() == this) {
      self = std::move(found->second);
      shard.calls.erase(found);
    }
  }
  Gate& gate = registry_.gate_;
  {
    // What they hold goes before the count: it may be of a plugin that is stopped when nothing is
    // in flight any more.
    std::vector<std::function<void()>> dropped;
    std::lock_guard lock(mutex_);
    returned_ = ended_ = true;
    dropped.swap(callbacks_);
  }
  method_.Leave();
  gate.Leave();
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
  // Under the lock, without which the call may end, and the registry with it.
  registry_.WatchClient(*this);
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
  return returned_ ? kNever : registry_.termination_.instant(Stage::kCancel);
}

CallInfo LiveCall::info() const {
  std::lock_guard lock(mutex_);
  // Asked for only here: it would cost every call two copies of a string.
  const bool knows_peer = started_ && !returned_;
  return {name_, knows_peer ? PeerOf(*context_) : "", began_, leaving(), thread_};
}

CallRegistry::CallRegistry(const Clock& clock, Termination termination,
                           std::function<void()> on_idle)
    : clock_(clock),
      termination_(std::move(termination)),
      gate_(on_idle),
      questions_(std::move(on_idle)) {}

CallRegistry::~CallRegistry() = default;

std::shared_ptr<LiveCall> CallRegistry::Begin(const grpc::ServerContextBase* context,
                                              const char* name) {
  Method& method = MethodOf(name);
  const Instant now = clock_.Now();
  gate_.Enter();
  method.gate.Enter();
  last_began_.store(now, std::memory_order_relaxed);
  auto call = std::make_shared<LiveCall>(*this, context, method.gate, method.name, now);
  {
    Shard& shard = ShardOf(context);
    std::lock_guard lock(shard.mutex);
    shard.calls[context] = call;
  }
  if (leaving_.load(std::memory_order_seq_cst)) call->TellToLeave();
  return call;
}

CallRegistry::Method& CallRegistry::MethodOf(const char* name) {
  {
    std::shared_lock lock(methods_mutex_);
    if (Method* const known = Known(name)) return *known;
  }
  const std::string invented = SafeText(name, kMaxSafeName);
  std::unique_lock lock(methods_mutex_);
  if (Method* const known = Known(invented)) return *known;
  if (invented_ == kMaxInvented) return Insert(kOtherMethods);
  ++invented_;
  return Insert(invented);
}

CallRegistry::Method* CallRegistry::Known(std::string_view name) const {
  const auto found = methods_.find(name);
  return found == methods_.end() ? nullptr : found->second.get();
}

CallRegistry::Method& CallRegistry::Insert(const std::string& name) {
  auto& method = methods_[name];
  if (method == nullptr) {
    method = std::make_unique<Method>();
    method->name = name;
  }
  return *method;
}

void CallRegistry::AddMethod(std::string_view name) {
  std::unique_lock lock(methods_mutex_);
  Insert(std::string(name));
}

std::vector<MethodCount> CallRegistry::methods() const {
  std::shared_lock lock(methods_mutex_);
  std::vector<MethodCount> counts;
  for (const auto& [name, method] : methods_) {
    if (method->gate.entered() == 0) continue;
    counts.push_back({name, method->gate.in_flight(), method->gate.entered()});
  }
  return counts;
}

std::vector<std::shared_ptr<LiveCall>> CallRegistry::Snapshot() const {
  std::vector<std::shared_ptr<LiveCall>> calls;
  for (Shard& shard : Shards()) {
    std::lock_guard lock(shard.mutex);
    for (const auto& [context, call] : shard.calls) {
      if (&call->registry_ == this) calls.push_back(call);
    }
  }
  std::sort(calls.begin(), calls.end(),
            [](const auto& a, const auto& b) { return a->began_ < b->began_; });
  return calls;
}

std::vector<CallInfo> CallRegistry::Calls(size_t limit) const {
  std::vector<CallInfo> infos;
  if (limit == 0) return infos;
  for (const auto& call : Snapshot()) {
    if (infos.size() == limit) break;
    infos.push_back(call->info());
  }
  return infos;
}

void CallRegistry::BeginLeave(LeaveSpread spread) {
  if (leave_begun_.exchange(true)) return;
  if (spread.from() <= clock_.Now()) leaving_.store(true, std::memory_order_seq_cst);
  leaver_.Begin([this, spread](const std::stop_token& end) { Leave(end, spread); });
}

void CallRegistry::Leave(const std::stop_token& end, LeaveSpread spread) {
  LeaveTurns turns(clock_, termination_, spread);
  if (!turns.AwaitBegin(end)) return;
  leaving_.store(true, std::memory_order_seq_cst);
  const auto calls = Snapshot();
  turns.Begin(calls.size());
  for (const auto& call : calls) {
    if (!turns.AwaitNext(end)) return;
    call->TellToLeave();
  }
}

void CallRegistry::WatchClient(const LiveCall& call) {
  const auto found = Find(call.context_);
  if (found.get() != &call) return;
  std::lock_guard lock(watched_mutex_);
  watched_.push_back(found);
  watched_changed_.notify_one();
  if (!client_watcher_.begun()) {
    client_watcher_.Begin([this](const std::stop_token& end) { WatchClients(end); });
  }
}

void CallRegistry::WatchClients(const std::stop_token& end) {
  std::unique_lock lock(watched_mutex_);
  while (watched_changed_.wait(lock, end, [this] { return !watched_.empty(); })) {
    watched_changed_.wait_for(lock, end, kClientPoll, [] { return false; });
    auto round = std::move(watched_);
    watched_.clear();
    lock.unlock();
    std::erase_if(round, [](const auto& weak) {
      const auto call = weak.lock();
      return call == nullptr || !call->PollClient();
    });
    lock.lock();
    watched_.insert(watched_.end(), round.begin(), round.end());
  }
}

std::shared_ptr<LiveCall> CallRegistry::Find(const grpc::ServerContextBase* context) {
  Shard& shard = ShardOf(context);
  std::lock_guard lock(shard.mutex);
  const auto found = shard.calls.find(context);
  return found == shard.calls.end() ? nullptr : found->second;
}

}  // namespace lastcall
