// A process as the supervisor sees it: one incarnation, that is started once, told, and killed; and
// what it tells.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <lastcall/base/exit_status.h>
#include <lastcall/base/log.h>
#include <lastcall/base/result.h>
#include <lastcall/lifecycle/plan.h>
#include <lastcall/lifecycle/receipt.h>
#include <lastcall/lifecycle/stage.h>

namespace lastcall {

// What an incarnation tells, through a sink that is bound to it: it cannot speak for another. Once
// it is over nobody listens. Threads: the loop's. Order: never inside a call of Process.
class ProcessEvents {
 public:
  virtual ~ProcessEvents() = default;
  virtual void Ready() = 0;
  // The reason; Exited follows.
  virtual void StartFailed(const Error& error) = 0;
  virtual void StageReached(Stage stage) = 0;
  // Whether no call gets through, for everybody who could serve it is held, and by what; empty: it is not
  // so, or no longer. May be told again and again.
  virtual void Frozen(const std::string& why) = 0;
  // It asks for a shutdown of the daemon.
  virtual void Requested(Request request) = 0;
  virtual void Reported(Receipt receipt) = 0;
  // The last; may destroy the Process.
  virtual void Exited(const ExitStatus& status) = 0;
};

// What the canary of a server has found (rpc/canary_report.h).
struct CanaryView {
  std::optional<Duration> latency;
  bool full = false;
  std::optional<Instant> overdue_since;
};

// What a plugin of a server offloads (plugin/offload.h).
struct OffloadView {
  std::string plugin;
  uint32_t threads = 0;
  uint32_t queue = 0;
  uint32_t busy = 0;
  uint32_t abandoned = 0;
  uint32_t queued = 0;
  uint32_t most_queued = 0;
  uint64_t begun = 0;
  uint64_t refused = 0;
  uint64_t late = 0;
};

// What a process says of one of its servers. Names are made safe.
struct ServerView {
  struct Method {
    std::string name;
    uint32_t in_flight = 0;
    uint64_t total = 0;
  };
  struct Call {
    std::string method;
    std::string peer;
    Instant began{};
    bool told = false;  // to leave
  };
  std::string name;
  bool serving = false;  // as its health says
  bool accepting = false;
  uint32_t calls_in_flight = 0;
  uint64_t calls_total = 0;
  uint32_t calls_stalled = 0;
  std::string held_by;  // "4 of 4 threads are held by …"; empty: it is not full
  uint32_t connections = 0;
  std::vector<Method> methods;
  std::vector<Call> oldest;          // in flight, oldest first; while stopping alone
  std::optional<CanaryView> canary;  // empty: it has none
  std::vector<OffloadView> offloads;
};

inline uint32_t CountStalled(const std::vector<ServerView>& servers) {
  uint32_t stalled = 0;
  for (const ServerView& server : servers) stalled += server.calls_stalled;
  return stalled;
}

// A process whose servers can be asked to drain.
class Drainable {
 public:
  virtual ~Drainable() = default;
  virtual void SetDraining(const std::string& server, bool draining) = 0;
};

// One whose calls can be seen (daemon/process/call_source.h).
class CallSource;

// Everything that is needed to go on with it in another build of this program.
struct SavedProcess {
  std::string state;             // for who wrote it
  std::vector<int> descriptors;  // whose numbers are in it
};

// Nothing here blocks, and constructing begins nothing: what comes of it is told to its events.
class Process {
 public:
  virtual ~Process() = default;

  // Once, this or the next. Answered by Ready, StartFailed or Exited.
  virtual void BeginStart(std::shared_ptr<ProcessEvents> events) = 0;
  // For one that was made from a SavedProcess.
  virtual void Resume(std::shared_ptr<ProcessEvents> events) = 0;
  // Nothing where no process runs.
  virtual std::optional<SavedProcess> Save() const = 0;

  // Lets it take connections, or stops it. Order: after Ready.
  virtual void Accept(bool accept) = 0;
  // The plan in force and the requests that it comes from; again at each further request.
  // Answered by Exited, when it is over.
  virtual void BeginStop(const Plan& plan, const std::vector<Ledger::Entry>& requests) = 0;
  // The same for one whose successor has taken over.
  virtual void BeginRetire(const Plan& plan, const std::vector<Ledger::Entry>& requests) = 0;
  // Ends it immediately. Answered by Exited.
  virtual void Kill() = 0;

  virtual void SetLogLevel(LogLevel level) = 0;
  // State and stacks, to the log.
  virtual void Dump() = 0;
  // Asks how it is; `answered` runs when servers() is fresh, or when the process is gone.
  virtual void BeginQuery(std::function<void()> answered) = 0;

  // 0: it has none.
  virtual pid_t pid() const = 0;
  // Whether the last query was answered, or is young.
  virtual bool answering() const = 0;
  // As it said last.
  virtual const std::vector<ServerView>& servers() const = 0;
  // Whether it accepts at this address, as bound, or would: of the daemon's own sockets.
  virtual bool ListensOn(const std::string& address) const = 0;
  // Null: its servers cannot drain.
  virtual Drainable* drainable() { return nullptr; }
  // Null: nobody sees into it.
  virtual CallSource* calls() { return nullptr; }
};

}  // namespace lastcall
