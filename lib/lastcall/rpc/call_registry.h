// The calls in flight of one server: how many, which, since when. The guard (guard.h) enters and ends
// them.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include <lastcall/base/clock.h>
#include <lastcall/event/gate.h>
#include <lastcall/lifecycle/termination.h>
#include <lastcall/rpc/call_info.h>
#include <lastcall/rpc/client_watch.h>
#include <lastcall/rpc/live_calls.h>
#include <lastcall/rpc/method_table.h>

namespace grpc {
class ServerContextBase;
}

namespace lastcall {

class LiveCall;

// Threads: any.
class CallRegistry {
 public:
  // `on_idle` runs when the last call ends once WatchIdle was called; see Gate. Fails: throws
  // std::system_error where no thread can be made.
  CallRegistry(const Clock& clock, Termination termination, std::function<void()> on_idle);
  // Order: after the last call has ended.
  ~CallRegistry();

  // Methods of services that are registered go by their name however many others are invented.
  // Order: before the first call.
  void AddMethod(std::string_view name) { methods_.Add(name); }
  // See MethodTable.
  Result<> SetStalls(const StallLimits& limits) { return methods_.SetStalls(limits); }
  void BoundFinished(size_t calls) { methods_.BoundFinished(calls); }

  // Of names that nobody has added, a bounded number are told apart. See MethodTable.
  CountedMethod& Method(const char* name) { return methods_.Of(name); }
  // `thread` is as LiveCall::Started has it, for one whose handler is about to run; empty: that is said later.
  std::shared_ptr<LiveCall> Begin(grpc::ServerContextBase* context, CountedMethod& method,
                                  CallKind kind, std::optional<pid_t> thread = {});
  // The last thing of the call. Nothing of the registry is touched once this has returned. Order: once.
  void End(LiveCall& call);

  const Clock& clock() const { return clock_; }
  int64_t in_flight() const { return gate_.in_flight(); }
  uint64_t total() const { return gate_.entered(); }
  // Calls of the housekeeping that are not over: nobody waits for them, and nothing more is known.
  std::atomic<int64_t>& housekeeping() { return housekeeping_; }
  // Of those, the streams of reflection: each holds a thread.
  std::atomic<int64_t>& reflections() { return reflections_; }
  int64_t reflections() const { return reflections_.load(std::memory_order_relaxed); }
  // The questions of reflection that were read and not answered yet: they are waited for.
  Gate& questions() { return questions_; }
  Instant last_began() const { return last_began_.load(std::memory_order_relaxed); }
  // Those that were called.
  std::vector<MethodCount> methods() const { return methods_.counts(); }
  std::vector<FinishedMethod> finished() const { return methods_.finished(); }
  const LiveCalls& living() const { return living_; }
  // Oldest first, `limit` at most.
  std::vector<CallInfo> Calls(size_t limit) const;

  void WatchIdle() {
    gate_.Watch();
    questions_.Watch();
  }
  // Calls that begin from now on are told to leave at once. Whoever is not is in a snapshot of living()
  // that is taken afterwards. See LeaveTeller.
  void TellNewcomers() { leaving_.store(true, std::memory_order_seq_cst); }

 private:
  const Clock& clock_;
  const Termination termination_;
  Gate gate_;
  std::atomic<int64_t> housekeeping_{0};
  std::atomic<int64_t> reflections_{0};
  Gate questions_;
  std::atomic<Instant> last_began_{Instant{}};
  std::atomic<bool> leaving_{false};
  MethodTable methods_;
  LiveCalls living_;
  ClientWatch client_watch_;  // last: whom it asks may use the others
};

}  // namespace lastcall
