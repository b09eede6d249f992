// The supervisor: decides when processes start, are started again, are replaced and stop, and when the
// daemon as a whole goes from one stage to the next. It has no threads, descriptors or timers: it is
// told what happened (On…, and each process its ProcessEvents), acts through Process, and reports
// through SupervisorObserver.
//
// It is made of one Member for each process, which is the state machine of that process, and of a
// ChangeQueue. What is here is the whole: the stage of the daemon is that of its slowest process.
#pragma once

#include <deque>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <lastcall/base/log.h>
#include <lastcall/base/result.h>
#include <lastcall/lifecycle/lifecycle.h>
#include <lastcall/lifecycle/receipt.h>
#include <lastcall/signals/table.h>
#include <lastcall/supervisor/change_queue.h>
#include <lastcall/supervisor/member.h>
#include <lastcall/supervisor/member_owner.h>
#include <lastcall/supervisor/process_spec.h>

namespace lastcall {

class SupervisorObserver {
 public:
  virtual ~SupervisorObserver() = default;
  // The daemon as a whole. After every process was told.
  virtual void StageEntered(Stage stage) = 0;
  // SIGHUP while serving.
  virtual void ReloadRequested(const Cause& by) = 0;
  virtual void DumpRequested() = 0;
  // Anything that a status shows.
  virtual void Changed() = 0;
  // A retired incarnation has ended.
  virtual void Retired(const Receipt& receipt) = 0;
  // Nothing is left; the exit code is in the receipt.
  virtual void Finished(const Receipt& receipt) = 0;
};

struct Draining {
  Cause by;
  Instant since{};
};

// Threads: one, the loop's. Nothing blocks.
class Supervisor : private MemberOwner {
 public:
  using Options = MemberOptions;
  using Change = ChangeQueue::Change;
  using Outcome = ChangeQueue::Outcome;
  // How long it waits for the death of what it killed when the plan ended: a process in the kernel's
  // hands may take longer.
  static constexpr Duration kPatience = std::chrono::seconds(1);
  using Drainings = std::map<std::string, Draining, std::less<>>;  // by server

  Supervisor(Options options, std::vector<ProcessSpec> specs, const Clock& clock,
             SupervisorObserver& observer, Log log);
  // What another supervisor of the same processes was, while it served and changed nothing.
  struct Resumed {
    Instant started{};
    Instant serving_since{};
    std::vector<Member::Resumed> members;
    Drainings draining;
  };
  // Goes on from there with Resume, instead of Start.
  Supervisor(Options options, Resumed resumed, const Clock& clock, SupervisorObserver& observer,
             Log log);

  void Start();
  void Resume();

  void OnSignal(const ReceivedSignal& signal);
  // True: the plan moved.
  bool OnRequest(Request request);
  // The clock reached next_instant().
  void OnTick();
  Instant next_instant() const;

  // Makes the changes one after another, behind those in progress; the first that fails ends
  // the list, and what was changed before it stays. `changed` runs when it is over, with one outcome
  // for each that was begun; when a shutdown comes between, that one failed.
  // Fails: kFailedPrecondition unless serving, kNotFound.
  Result<> BeginChanges(std::vector<Change> changes, const Cause& by, ChangeQueue::Changed changed);
  bool changing() const { return !changes_.empty(); }
  // For incarnations that begin from now on, and the next shutdown.
  void SetOptions(const Options& options);
  // The same for one process; ignored while it is being replaced.
  void SetSpec(ProcessSpec spec);

  // True: it was otherwise before. Fails: kNotFound (with the names there are), kFailedPrecondition
  // while stopping, kUnimplemented where the process cannot.
  Result<bool> SetDraining(const std::string& server, bool draining, const Cause& by);

  Stage stage() const override { return lifecycle_.stage(); }
  // Fails: kFailedPrecondition, with what is in progress instead.
  Result<> CheckServing() const;
  const Lifecycle& lifecycle() const { return lifecycle_; }
  const Options& options() const { return options_; }
  // Some may be removed.
  const std::deque<Member>& members() const { return members_; }
  // Servers that drain.
  const Drainings& draining() const { return draining_; }

 private:
  void Requested(Request request) override { OnRequest(std::move(request)); }
  void CannotStart(const Member& member, Error why) override;
  void ChangeIsOver(const Member& member, const std::string& failure) override;
  void ReplaceFrozen(const Member& member) override;
  void Retired(const Receipt& receipt) override { observer_.Retired(receipt); }
  void Moved() override { FollowProcesses(); }

  void BeginChange(const Change& change, const Cause& by);
  void ChangeIsOver(Outcome outcome);
  void FollowProcesses();
  void Apply(const Lifecycle::Changes& changes);
  void EnterStopped(Event why);
  Receipt MakeReceipt();
  Member* Named(std::string_view name);

  Options options_;
  const Clock& clock_;
  SupervisorObserver& observer_;
  const Log log_;
  const MemberContext context_{*this, options_, clock_, log_};
  SignalTable signal_table_;
  Lifecycle lifecycle_;
  std::deque<Member> members_;  // grows; references stay
  Drainings draining_;
  ChangeQueue changes_{[this](const Change& change, const Cause& by) { BeginChange(change, by); }};
  WallTime began_{};  // when the first request came
  Instant first_request_{};
  std::optional<Error> start_error_;  // why the daemon could not start
  Instant last_patience_ = kNever;    // when to stop waiting for what was killed
  bool finished_ = false;
};

// The processes of all of them.
template <class F>
void ForEachProcess(const Supervisor& supervisor, F action) {
  for (const Member& member : supervisor.members()) {
    ForEachIncarnation(member, [&](const Incarnation& incarnation) {
      if (incarnation.process != nullptr) action(*incarnation.process);
    });
  }
}

}  // namespace lastcall
