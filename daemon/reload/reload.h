// Reload: reads everything afresh, compares, and has the supervisor change what has changed. Nothing
// takes effect before it was found good, and what fails leaves what runs as it is.
//
//   look for another build ── there is one ─► a handover to it
//     └─ read and judge ─► names ─► try plugins ─► bind ─► the supervisor's changes ─► takes effect
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "daemon/reload/readings.h"
#include "daemon/reload/report.h"
#include "daemon/setup/setup.h"

#include <lastcall/event/subscription.h>

namespace lastcall {

// What comes of a reload for the rest of the daemon. Threads: the loop's.
class ReloadOwner {
 public:
  virtual ~ReloadOwner() = default;
  // Everything else is for that build to decide. Answered by HandoverFailed or SendOn.
  virtual void BeginHandover(UniqueFd binary, const Cause& by) = 0;
  // New sockets are about to be bound: what was dropped and waits for its end may be wanted again.
  virtual void BeforeBind() = 0;
  // The changes begin; TookEffect follows.
  virtual void Changing() = 0;
  // What runs is another now; nobody listens any more on what was dropped.
  virtual void TookEffect(const Setup& before,
                          const std::set<std::shared_ptr<const Listener>>& dropped) = 0;
  // last() is another.
  virtual void Noted() = 0;
};

// Threads: the loop's.
class Reload {
 public:
  // Of a process, as the setup has it.
  using SpecOf = std::function<ProcessSpec(const Setup&, const std::string& process)>;
  struct Parts {
    Setup& running;  // changed by it alone, when a reload takes effect
    Supervisor& supervisor;
    SocketBinder& binder;
    Readings& readings;
    SpecOf spec_of;
    Executor loop;
    const Clock& clock;
    Log log;
  };
  Reload(Parts parts, ReloadOwner& owner);

  // One at a time; those who ask while it is in progress get the next, together. Without `wait` the
  // answer is what would change. Fails, through `done`: kFailedPrecondition, a shutdown or the start
  // is in progress; kInvalidArgument, what was read cannot run, and nothing has changed.
  void Begin(const Cause& by, bool wait, ReloadDone done);
  // As far as it can be known without beginning; changes nothing.
  void BeginDryRun(ReloadDone done);
  // Of one process, as it is. Fails: kNotFound; kFailedPrecondition, also in a handover.
  void BeginRestart(const std::string& process, bool wait, const Cause& by, ReloadDone done);

  // Of the handover: this build goes on, and who waits is told. Also when it came back from there.
  void HandoverFailed(const Error& error);
  // It is past the point where that may be: who waits, and who asks from now on, is to ask the other
  // build for this number.
  void SendOn(uint64_t number);

  // Why nothing is begun any more that could take its time. Fails: kFailedPrecondition.
  Result<> CheckStays() const;
  bool idle() const { return !attempt_; }
  // What may run soon, with its sockets, while a change to it is in progress.
  const Setup* candidate() const {
    return attempt_ && attempt_->candidate ? &attempt_->candidate->setup : nullptr;
  }
  // Empty: there was none yet.
  const std::optional<ReloadNote>& last() const { return last_; }

 private:
  struct Candidate {
    Setup setup;
    Changes changes;
    std::vector<std::string> warnings;
    HostNames names;
  };
  enum class Handover : uint8_t { kNone, kChecking, kLeaving };
  struct Attempt {
    Cause by;
    std::optional<Candidate> candidate = {};
    Handover handover = Handover::kNone;
    uint64_t number = 0;  // of the handover, once it is kLeaving
  };
  struct Caller {
    bool wait;
    ReloadDone done;
  };
  struct Queued {
    Cause by;
    Caller caller;
  };

  void Next();
  void NextIfFree();
  void BuildKnown(Result<Readings::AnotherBuild> another);
  void BeginPrepare(std::function<void(Result<Candidate>)> done);
  Result<Candidate> Judge(Prepared prepared) const;
  void BeginNames();
  void TryCandidate(bool another_build, const ReloadDone& done);
  void BeginPreflight(const Candidate& candidate, Readings::Done<PreflightReport> done);
  void ChangeOver(const PreflightReport& preflight);
  Result<> Bind(Candidate& candidate);
  std::vector<Supervisor::Change> ChangesTo(const Candidate& candidate) const;
  void Over(const std::vector<Supervisor::Outcome>& outcomes);
  void TakeEffect(Candidate candidate, const std::vector<Supervisor::Outcome>& outcomes);
  // Of no use any more.
  void Discard(Candidate candidate);
  void SayFailures(const std::vector<Supervisor::Outcome>& outcomes) const;
  void Refuse(const Error& error);
  void Note(const std::string& refusal, const ReloadReport& report);
  void Answer(const Result<ReloadReport>& result);
  static Error BeingReplaced();
  Result<> CheckRestart(const std::string& process) const;
  void Restart(const std::string& process, bool wait, const Cause& by,
               const Fingerprints& fingerprints, const ReloadDone& done);
  void Post(Callback run) { parts_.loop(std::move(run)); }
  void Say(LogLevel level, const std::string& message) const { parts_.log(level, message); }

  const Parts parts_;
  ReloadOwner& owner_;
  std::optional<Attempt> attempt_;  // in progress
  std::vector<Caller> callers_;     // who waits for it
  std::vector<Queued> queued_;      // for the one after it
  std::optional<ReloadNote> last_;
};

}  // namespace lastcall
