// The supervisor: decides when processes start, are started again, are replaced and stop, and when the
// daemon as a whole goes from one stage to the next. It has no threads, descriptors or timers: it is
// told what happened (On…, and each process its ProcessEvents), acts through Process, and reports
// through SupervisorObserver.
//
//   phase     ready     start failed  exited                    stop requested  its instant passed
//   starting  running   remembered    waiting; first start:     stopping        killed: not ready in time
//                                     the daemon stops
//   running   -         -             waiting, or down by       stopping        -
//                                     policy
//   stopping  -         -             down                      told again      killed (when the plan ends)
//   waiting   -         -             -                         down            starting
//   down      -         -             -                         -               -
//
// At the first start nobody accepts before all are ready; later each does when it is.
//
// A replacement, of one process at a time (replacement.cc):
//
//   step      successor ready        successor exited          old one exited      its instant passed
//   starting  takes over: settling   failed, nothing changed   takes over at once  killed: failed
//   settling  -                      old one accepts again:    done                old one retires: done
//                                    failed
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <lastcall/base/log.h>
#include <lastcall/base/result.h>
#include <lastcall/lifecycle/lifecycle.h>
#include <lastcall/lifecycle/receipt.h>
#include <lastcall/signals/table.h>
#include <lastcall/supervisor/member.h>
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
class Supervisor {
 public:
  struct Options {
    Budget shutdown;
    Duration ready = std::chrono::seconds(30);
    Duration settle = std::chrono::seconds(2);
    Duration retire = std::chrono::minutes(10);  // grace of a retired incarnation
    size_t keep = 3;                             // retired incarnations of a member
  };

  // What to do with one process.
  struct Change {
    enum class Kind { kAdd, kReplace, kRemove };
    Kind kind = Kind::kReplace;
    ProcessSpec spec;  // kRemove: its name alone; kReplace: that is enough where it stays as it is
  };
  struct Outcome {
    std::string process;
    std::string failure;       // empty: done
    uint32_t incarnation = 0;  // the one that serves now
  };
  using Changed = std::function<void(const std::vector<Outcome>&)>;

  Supervisor(Options options, std::vector<ProcessSpec> specs, const Clock& clock,
             SupervisorObserver& observer, Log log);
  // What another supervisor of the same processes was, while it served and changed nothing.
  struct Resumed {
    Instant started{};
    Instant serving_since{};
    std::deque<Member> members;
    std::map<std::string, Draining, std::less<>> draining;
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

  // Makes the changes one after another, behind those that are under way; the first that fails ends
  // the list, and what was changed before it stays. `changed` runs when it is over, with one outcome
  // for each that was begun; when a shutdown comes between, that one failed.
  // Fails: kFailedPrecondition unless serving, kNotFound.
  Result<> BeginChanges(std::vector<Change> changes, const Cause& by, Changed changed);
  bool changing() const { return !jobs_.empty(); }
  // For incarnations that begin from now on, and the next shutdown.
  void SetOptions(const Options& options);
  // The same for one process; ignored while it is being replaced.
  void SetSpec(ProcessSpec spec);

  // True: it was otherwise before. Fails: kNotFound (with the names there are), kFailedPrecondition
  // while stopping, kUnimplemented where the process cannot.
  Result<bool> SetDraining(const std::string& server, bool draining, const Cause& by);

  Stage stage() const { return lifecycle_.stage(); }
  // Fails: kFailedPrecondition, with what is in progress instead.
  Result<> CheckServing() const;
  const Lifecycle& lifecycle() const { return lifecycle_; }
  const Options& options() const { return options_; }
  // Some may be removed.
  const std::deque<Member>& members() const { return members_; }
  // Servers that drain.
  const std::map<std::string, Draining, std::less<>>& draining() const { return draining_; }

 private:
  class Events;  // of one incarnation

  struct Job {
    std::vector<Change> changes;
    Cause by;
    Changed changed;
    std::vector<Outcome> outcomes;  // so far
  };

  // `place`: the member's in the list. What belongs to an incarnation that is over is ignored.
  void OnReady(size_t place, uint32_t number);
  void OnStartFailed(size_t place, uint32_t number, const Error& error);
  void OnStage(size_t place, uint32_t number, Stage stage);
  void OnReceipt(size_t place, uint32_t number, Receipt receipt);
  void OnExited(size_t place, uint32_t number, const ExitStatus& status);

  std::shared_ptr<ProcessEvents> EventsOf(const Member& member, const Incarnation& incarnation);
  void BeginIncarnation(Member& member, Incarnation& incarnation, const ProcessSpec& spec);
  void BeginStart(Member& member);
  void BeginStop();
  void FollowProcesses();
  void Apply(const Lifecycle::Changes& changes);
  void EnterStopped(Event why);
  void Accept(Incarnation& incarnation);
  void Failed(Member& member, const ExitStatus& status);
  void Ended(const Member& member, Incarnation& incarnation, const ExitStatus& status);
  std::string FailureOf(const Incarnation& incarnation, const ExitStatus& status) const;
  void Finish();
  Receipt MakeReceipt();
  static void AddTo(Receipt& receipt, const std::string& name, Incarnation& incarnation);
  Incarnation* Find(size_t place, uint32_t number);
  bool AllAtLeast(Stage stage) const;
  bool AllDown() const;
  void SetPhase(Incarnation& incarnation, Phase phase, Instant until = kNever);
  Member* Named(std::string_view name);

  void NextChange();
  void BeginChange(Change& change);
  void ChangeIsOver(const std::string& process, std::string failure, uint32_t number);
  void EndJob();
  void TakeOver(Member& member);
  void Promote(Member& member);
  void Retire(Member& member, const Cause& by, bool replaced);
  void SuccessorFailed(Member& member, const std::string& why);
  void AbandonChanges();
  bool IsSuccessor(const Member& member, const Incarnation& incarnation) const;

  Options options_;
  const Clock& clock_;
  SupervisorObserver& observer_;
  const Log log_;
  SignalTable signal_table_;
  Lifecycle lifecycle_;
  std::deque<Member> members_;  // grows; references stay
  std::map<std::string, Draining, std::less<>> draining_;
  std::deque<Job> jobs_;
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
