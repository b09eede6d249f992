#include "lastcall/rpc/call_registry.h"

#include <utility>

#include "lastcall/rpc/call_directory.h"
#include "lastcall/rpc/live_call.h"

namespace lastcall {

CallRegistry::CallRegistry(const Clock& clock, Termination termination,
                           std::function<void()> on_idle)
    : clock_(clock),
      termination_(std::move(termination)),
      gate_(on_idle),
      questions_(std::move(on_idle)) {}

CallRegistry::~CallRegistry() = default;

std::shared_ptr<LiveCall> CallRegistry::Begin(grpc::ServerContextBase* context,
                                              CountedMethod& method, CallKind kind,
                                              std::optional<pid_t> thread) {
  const Instant now = clock_.Now();
  const uint64_t number = gate_.Enter();
  method.calls.Enter();
  last_began_.store(now, std::memory_order_relaxed);
  auto call = std::make_shared<LiveCall>(
      context, method, LiveCall::Identity{number, kind, now, thread}, termination_, client_watch_);
  // The memory is this call's now, and must not be looked at for another.
  if (const auto last = CallDirectory::Enter(*call)) last->Returned();
  // First this, then the question: see TellNewcomers.
  living_.Enter(call);
  if (leaving_.load(std::memory_order_seq_cst)) call->TellToLeave();
  return call;
}

void CallRegistry::End(LiveCall& call) {
  CallDirectory::Leave(call);
  // Kept alive here: the list may hold the last reference.
  const std::shared_ptr<LiveCall> self = living_.Leave(call);
  // What its callbacks hold goes before the count: it may be of a plugin that is stopped when nothing
  // is in flight any more.
  call.Ended();
  call.method().calls.Leave();
  gate_.Leave();
}

std::vector<CallInfo> CallRegistry::Calls(size_t limit) const {
  std::vector<CallInfo> infos;
  if (limit == 0) return infos;
  for (const auto& call : living_.Snapshot()) {
    if (infos.size() == limit) break;
    if (auto info = call->info()) infos.push_back(std::move(*info));
  }
  return infos;
}

}  // namespace lastcall
