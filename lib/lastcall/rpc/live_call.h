// LiveCall: one call, from the guard's first sight of it to its end; what Call is a view of.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include <lastcall/base/clock.h>
#include <lastcall/lifecycle/termination.h>
#include <lastcall/rpc/call_directory.h>
#include <lastcall/rpc/call_info.h>
#include <lastcall/rpc/call_progress.h>
#include <lastcall/rpc/client_watch.h>
#include <lastcall/rpc/live_calls.h>
#include <lastcall/rpc/method_table.h>

struct grpc_call;

namespace grpc {
class ServerContextBase;
class Status;
}  // namespace grpc

namespace lastcall {

// Made by CallRegistry::Begin. It may outlive the registry: from Ended on it looks at nothing that it
// was given, whoever asks it for whatever; but for method(). Threads: any.
class LiveCall : public std::enable_shared_from_this<LiveCall> {
 public:
  struct Identity {
    uint64_t number;  // which call of its server it is
    CallKind kind;
    Instant began;
    std::optional<pid_t> thread;  // as Started has it, where that is known
  };
  LiveCall(grpc::ServerContextBase* context, CountedMethod& method, const Identity& identity,
           const Termination& termination, ClientWatch& client_watch)
      : context_(context),
        method_(method),
        termination_(termination),
        client_watch_(client_watch),
        identity_(identity),
        progress_(identity.began),
        thread_(identity.thread.value_or(0)),
        started_(identity.thread.has_value()) {}

  // What happens to it. The handler is about to run; `thread` is 0 when it has none of its own.
  void Started(pid_t thread);
  // A reactor is being made, in this thread; 0: it is made. Whatever it does later, gRPC tells nobody in
  // which thread.
  void RunsIn(pid_t thread) { runs_in_.store(thread, std::memory_order_relaxed); }
  void TellToLeave();
  void ClientGone();
  // Its messages.
  CallProgress& progress() { return progress_; }
  // The handler has given its status, which is remembered where that is worth it. Order: in gRPC's own
  // step with it, while the context is there; then Returned.
  void GaveStatus(const grpc::Status& status, Instant now);
  // The handler has returned; the context is about to go.
  void Returned();
  // Nobody is told anything from here on, and what the callbacks hold is gone. Order: by
  // CallRegistry::End.
  void Ended();

  // What a handler may know and ask for.
  std::stop_token token();
  // Stop is requested when the client is gone or the call is cancelled, not when it is time to leave.
  std::stop_token gone_token();
  void OnLeave(std::function<void()> callback);
  bool leaving() const { return leaving_.load(std::memory_order_acquire); }
  Instant cancel_instant() const;

  // For its registry, and for those who walk the living calls of it. After Returned the context is only
  // an address. Order: method() before the registry goes.
  const grpc::ServerContextBase* context() const { return context_; }
  CountedMethod& method() const { return method_; }
  uint64_t number() const { return identity_.number; }
  Instant began() const { return identity_.began; }
  CallKind kind() const { return identity_.kind; }
  // When a message of it last came or went, or it began.
  Instant progressed() const { return progress_.at(); }
  // That came and went.
  uint64_t messages() const { return progress_.received() + progress_.sent(); }
  // As in info(), without what only the context knows; kFinish from Returned on.
  CallWaits waits() const;
  pid_t thread() const { return thread_.load(std::memory_order_relaxed); }
  pid_t runs_in() const { return runs_in_.load(std::memory_order_relaxed); }
  // Nothing: it has ended.
  std::optional<CallInfo> info() const;
  // Its client sees CANCELLED with this text, which is safe; its handler that it is cancelled. False: it
  // has ended, or not begun yet as far as gRPC goes.
  bool Cancel(const std::string& why);
  LiveCalls::Place& place() { return place_; }
  CallDirectory::Place& directory_place() { return directory_place_; }

 private:
  // Notices that the client of a sync handler or a unary reactor is gone; nothing else tells. False: no need to
  // ask again.
  bool PollClient();
  // One reference more, for whoever asks; null: there is none any more. Order: mutex_ is held.
  grpc_call* Held() const;
  // Order: mutex_ is held. Where gRPC tells nobody: for sync handlers and unary reactors.
  void NeedClientWatch();
  // Order: mutex_ is held. Whether somebody is to be told yet that the client is gone.
  bool ClientMatters() const;
  void Signal(bool leaving);

  grpc::ServerContextBase* const context_;  // valid until Returned
  CountedMethod& method_;                   // these three until Ended
  const Termination& termination_;
  ClientWatch& client_watch_;
  const Identity identity_;
  CallProgress progress_;
  LiveCalls::Place place_;
  CallDirectory::Place directory_place_;
  std::atomic<bool> leaving_{false};
  std::atomic<pid_t> thread_{0};
  std::atomic<pid_t> runs_in_{0};
  std::atomic<bool> returned_{false};  // written under mutex_

  mutable std::mutex mutex_;
  bool started_ = false;
  bool ended_ = false;
  bool signalled_ = false;  // told to leave, or that the client is gone
  bool gone_ = false;       // the second
  bool client_watched_ = false;
  grpc_call* held_ = nullptr;  // a reference to it, from Returned of a stream to Ended
  // Each made when somebody asks for its token.
  std::stop_source stop_{std::nostopstate};
  std::stop_source gone_stop_{std::nostopstate};
  std::vector<std::function<void()>> callbacks_;
};

}  // namespace lastcall
