// The calls in flight of one server: how many, which, since when, and telling them to leave.
// The guard (guard.h) enters and ends them.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include <lastcall/base/clock.h>
#include <lastcall/event/gate.h>
#include <lastcall/event/standby.h>
#include <lastcall/lifecycle/leave_spread.h>
#include <lastcall/lifecycle/termination.h>
#include <lastcall/rpc/call_info.h>

namespace grpc {
class ServerContextBase;
}

namespace lastcall {

class CallRegistry;

// One call, from the guard's first sight of it to its end; what Call is a view of.
// Threads: any.
class LiveCall {
 public:
  LiveCall(CallRegistry& registry, const grpc::ServerContextBase* context, Gate& method,
           const std::string& name, Instant began)
      : registry_(registry), context_(context), method_(method), name_(name), began_(began) {}

  // The handler is about to run; `thread` is 0 when it has none of its own.
  void Started(pid_t thread);
  void TellToLeave();
  void ClientGone();
  // The handler has returned; the context is about to go.
  void Returned();
  // The last thing of the call. Nothing of the registry is touched from here on.
  void End();

  std::stop_token token();
  void OnLeave(std::function<void()> callback);
  bool leaving() const { return leaving_.load(std::memory_order_acquire); }
  Instant cancel_instant() const;

 private:
  friend class CallRegistry;

  // Notices a sync handler's client that is gone; nothing else tells. False: no need to ask again.
  bool PollClient();
  // Order: mutex_ is held. Sync handlers only: the others are told by gRPC.
  void NeedClientWatch();
  void Signal(bool leaving);
  CallInfo info() const;

  CallRegistry& registry_;                        // valid until End
  const grpc::ServerContextBase* const context_;  // valid until Returned
  Gate& method_;
  const std::string& name_;
  const Instant began_;
  std::atomic<bool> leaving_{false};

  mutable std::mutex mutex_;
  bool started_ = false;
  pid_t thread_ = 0;
  bool returned_ = false;
  bool ended_ = false;
  bool signalled_ = false;
  bool client_watched_ = false;
  std::stop_source stop_{std::nostopstate};  // made when somebody asks for the token
  std::vector<std::function<void()>> callbacks_;
};

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
  void AddMethod(std::string_view name);

  // Of names that nobody has added, the first kMaxInvented are told apart.
  std::shared_ptr<LiveCall> Begin(const grpc::ServerContextBase* context, const char* method);

  int64_t in_flight() const { return gate_.in_flight(); }
  uint64_t total() const { return gate_.entered(); }
  // Calls of the housekeeping that are not over: nobody waits for them, and nothing more is known.
  std::atomic<int64_t>& housekeeping() { return housekeeping_; }
  // Of those, the questions of reflection that were read and not answered yet: they are waited for.
  Gate& questions() { return questions_; }
  Instant last_began() const { return last_began_.load(std::memory_order_relaxed); }
  // Those that were called.
  std::vector<MethodCount> methods() const;
  // Oldest first, `limit` at most.
  std::vector<CallInfo> Calls(size_t limit) const;

  void WatchIdle() {
    gate_.Watch();
    questions_.Watch();
  }
  // Tells the calls to leave, as `spread` has it while the plan moves; those that begin once that has
  // begun are told at once. Does not block. Once.
  void BeginLeave(LeaveSpread spread);

  // The call that `context` belongs to, of any registry in this process; null: none.
  static std::shared_ptr<LiveCall> Find(const grpc::ServerContextBase* context);

 private:
  friend class LiveCall;
  struct Method {
    std::string name;
    Gate gate;
  };
  static constexpr size_t kMaxInvented = 1000;

  Method& MethodOf(const char* name);
  Method* Known(std::string_view name) const;  // null: it is not
  Method& Insert(const std::string& name);
  // Every living call, oldest first.
  std::vector<std::shared_ptr<LiveCall>> Snapshot() const;
  void WatchClient(const LiveCall& call);
  void WatchClients(const std::stop_token& end);
  void Leave(const std::stop_token& end, LeaveSpread spread);

  const Clock& clock_;
  const Termination termination_;
  Gate gate_;
  std::atomic<int64_t> housekeeping_{0};
  Gate questions_;
  std::atomic<Instant> last_began_{Instant{}};
  std::atomic<bool> leave_begun_{false};
  std::atomic<bool> leaving_{false};

  mutable std::shared_mutex methods_mutex_;
  std::map<std::string, std::unique_ptr<Method>, std::less<>> methods_;  // never shrinks
  size_t invented_ = 0;                                                  // of them

  std::mutex watched_mutex_;
  std::condition_variable_any watched_changed_;
  std::vector<std::weak_ptr<LiveCall>> watched_;
  Standby client_watcher_;  // begun when the first sync handler asks for its token
  Standby leaver_;
};

}  // namespace lastcall
