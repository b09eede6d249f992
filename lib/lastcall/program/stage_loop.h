// StageLoop: the life of one process. Signals, requests, and what its part tells, become events that
// one thread reads; the stages follow from them and from the clock.
//
//   StageLoop loop(options, clock, part);
//   loop.Post([&] { loop.OnReady(); });                     // any thread
//   while (loop.stage() != Stage::kStopped) loop.Step();    // the one that reads
#pragma once

#include <atomic>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include <lastcall/base/clock.h>
#include <lastcall/base/log_queue.h>
#include <lastcall/base/result.h>
#include <lastcall/event/end_in_time.h>
#include <lastcall/event/inbox.h>
#include <lastcall/lifecycle/lifecycle.h>
#include <lastcall/lifecycle/receipt.h>
#include <lastcall/lifecycle/termination.h>
#include <lastcall/signals/signals.h>

namespace lastcall {

// What a process consists of, as far as its end goes: the work of a program, the servers of a host.
// In the loop's thread, but where it says otherwise; nothing here may block.
class StagePart {
 public:
  virtual ~StagePart() = default;

  // The first request is there. Threads: any, and more than once, where it was announced.
  virtual void FirstRequest() {}
  // A request was merged, and this is the plan now; or it came when everything had stopped already.
  virtual void Requested(const Request& /*request*/, const Plan& /*plan*/) {}
  // A stage begins: before anybody is woken by its event, who must find health, counts and receipt as
  // they are then.
  virtual void Entering(const Lifecycle::Change& /*change*/) {}
  // And after that.
  virtual void Entered(const Lifecycle::Change& /*change*/) {}

  // Asked after each event. Idle: grace has nothing to wait for; done: nor has cancel.
  virtual bool idle() const = 0;
  virtual bool done() const = 0;
  // When something was last in flight anew; for `quiet`.
  virtual Instant last_began() const { return Instant{}; }
  // When it wants OnDue to be called; kNever: it does not.
  virtual Instant due() const { return kNever; }
  virtual void OnDue() {}

  // What was finished and cancelled; `ran_out`: and what has not returned, for these are the last
  // words. It may take a moment, and no more.
  virtual void AddTo(Receipt& receipt, bool ran_out) = 0;
  // The receipt is complete, but for its exit code where the part knows a better one.
  virtual void Finished(Receipt& /*receipt*/) {}
  // SIGUSR1: what there is, to the log.
  virtual void Dump() {}
};

class StageLoop {
 public:
  struct Options {
    std::string name;  // in the receipt and in requests of its own
    uint32_t incarnation = 0;
    Budget shutdown = {};
    std::optional<Duration> quiet = {};  // see StagePart::last_began
    // When something has not returned at the last instant, the process ends by _exit(4).
    bool exit_when_forced = true;
    Log log = {};
  };

  StageLoop(Options options, const Clock& clock, StagePart& part);
  // Blocks: until a call of the log that runs has returned; where it has not at the plan's end, and
  // with exit_when_forced, the process ends by _exit(4).
  ~StageLoop();

  // Threads: any, for these.

  void Post(std::function<void()> event) { inbox_.Post(std::move(event)); }
  Termination termination() const { return termination_.view(); }
  // While serving, every request leads to delay: whoever waits for that is woken from here, not by
  // way of the loop. Before the request is posted.
  void Announce(const Request& request);
  // Other lengths, for requests to come; at once, for one that follows closely. Once there was one,
  // they stay as they are.
  void Configure(std::optional<Duration> delay, std::optional<Duration> grace,
                 std::optional<Duration> cancel);
  void Say(LogLevel level, const std::string& message) const { log_(level, message); }
  const LogQueue& log() const { return log_; }

  // Threads: the one that reads, from here on.

  // One event, or what the clock says. Blocks: until there is either.
  void Step();
  void OnReady();
  void OnSignal(const ReceivedSignal& signal);
  void OnRequest(Request request);
  void OnAdopt(const Plan& plan, std::vector<Ledger::Entry> entries);
  // It goes away before anybody asked, or before it was over: every stage is reached.
  void OnEnd();

  Stage stage() const { return lifecycle_.stage(); }
  const Lifecycle& lifecycle() const { return lifecycle_; }
  const Receipt& receipt() const { return receipt_; }

 private:
  Budget FixLengths();
  Instant QuietAt() const;
  void Run(const std::function<void()>& event);
  void OnClock();
  void LookAtPart();
  void FirstRequest();
  void Apply(const Lifecycle::Changes& changes);
  void Enter(const Lifecycle::Change& change);
  void EnterStopped();

  const Options options_;
  const Clock& clock_;
  StagePart& part_;
  const LogQueue log_;
  EndInTime end_in_time_;
  Inbox<std::function<void()>> inbox_;
  std::mutex lengths_mutex_;
  Budget lengths_ = options_.shutdown;
  bool lengths_fixed_ = false;
  TerminationSource termination_;
  SignalTable signal_table_;
  Lifecycle lifecycle_;
  std::atomic<Stage> stage_{Stage::kStarting};  // as the others may see it
  Receipt receipt_;
};

}  // namespace lastcall
