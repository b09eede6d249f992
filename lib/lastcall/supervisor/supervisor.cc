#include "lastcall/supervisor/supervisor.h"

#include <unistd.h>

#include <algorithm>
#include <iterator>
#include <utility>

#include "lastcall/base/spelling.h"

namespace lastcall {
namespace {

bool AllAtLeast(const std::deque<Member>& members, Stage stage) {
  bool all = true;
  for (const Member& member : members) {
    ForEachIncarnation(member, [&](const Incarnation& incarnation) {
      all = all && (incarnation.phase == Phase::kDown || incarnation.stage >= stage);
    });
  }
  return all;
}

bool AllIn(const std::deque<Member>& members, Phase phase) {
  bool all = true;
  for (const Member& member : members) {
    ForEachIncarnation(
        member, [&](const Incarnation& incarnation) { all = all && incarnation.phase == phase; });
  }
  return all;
}

// The report of one incarnation goes into the daemon's.
void AddTo(Receipt& receipt, Receipt one) {
  receipt.calls_finished += one.calls_finished;
  receipt.calls_cancelled += one.calls_cancelled;
  // The lists go up: one place to look at for the whole daemon.
  std::move(one.cancelled.begin(), one.cancelled.end(), std::back_inserter(receipt.cancelled));
  std::move(one.stuck.begin(), one.stuck.end(), std::back_inserter(receipt.stuck));
  one.cancelled.clear();
  one.stuck.clear();
  if (!one.failure.empty() && receipt.failure.empty()) {
    receipt.failure = "process " + one.subject + " " + one.failure;
  }
  // The codes of a process that could not start (again) say nothing of its calls.
  if (one.exit_code <= kExitForced) receipt.exit_code = std::max(receipt.exit_code, one.exit_code);
  receipt.processes.push_back(std::move(one));
}

}  // namespace

Supervisor::Supervisor(Options options, std::vector<ProcessSpec> specs, const Clock& clock,
                       SupervisorObserver& observer, Log log)
    : options_(options),
      clock_(clock),
      observer_(observer),
      log_(std::move(log)),
      lifecycle_(options.shutdown, clock.Now()) {
  for (ProcessSpec& spec : specs) members_.emplace_back(std::move(spec), context_);
}

Supervisor::Supervisor(Options options, Resumed resumed, const Clock& clock,
                       SupervisorObserver& observer, Log log)
    : options_(options),
      clock_(clock),
      observer_(observer),
      log_(std::move(log)),
      lifecycle_(options.shutdown, resumed.started),
      draining_(std::move(resumed.draining)) {
  for (Member::Resumed& one : resumed.members) members_.emplace_back(std::move(one), context_);
  lifecycle_.Happened(Event::kBecameReady, resumed.serving_since);
}

void Supervisor::Start() {
  for (Member& member : members_) member.BeginStart();
  FollowProcesses();
}

void Supervisor::Resume() {
  for (Member& member : members_) member.Resume();
}

void Supervisor::OnSignal(const ReceivedSignal& signal) {
  const SignalAction action = signal_table_.Decide(signal, lifecycle_.stage());
  switch (action) {
    case SignalAction::kDump: return observer_.DumpRequested();
    case SignalAction::kReload: return observer_.ReloadRequested(RequestOf(signal, action).cause);
    case SignalAction::kRefuseReload:
      return log_(LogLevel::kWarning, "SIGHUP: reload refused, for a shutdown is in progress");
    default: OnRequest(RequestOf(signal, action));
  }
}

bool Supervisor::OnRequest(Request request) {
  if (lifecycle_.ledger().empty()) {
    began_ = request.wall;
    first_request_ = clock_.Now();
  }
  const bool skip = request.skip;
  const std::string who = Describe(request.cause);
  const Stage before = lifecycle_.stage();
  bool moved = false;
  const auto changes = lifecycle_.RequestStop(std::move(request), clock_.Now(), &moved);
  log_(LogLevel::kInfo, skip ? who + " again: stage " + std::string(Name(before)) + " is skipped"
                             : "stop requested by " + who + (moved ? "" : "; schedule unchanged"));
  for (Member& member : members_) member.BeginStop(lifecycle_.ledger());
  Apply(changes);
  FollowProcesses();
  changes_.Abandon("interrupted by shutdown");  // it wins
  return moved;
}

void Supervisor::CannotStart(const Member& member, Error why) {
  start_error_ = std::move(why);
  OnRequest(RequestNow({.kind = Cause::Kind::kProcess,
                        .who = member.spec().name,
                        .reason = "cannot start: " + member.history().last_failure},
                       clock_));
}

// Moves the daemon's own stage after the processes': it is the one of the slowest.
void Supervisor::FollowProcesses() {
  const Instant now = clock_.Now();
  switch (lifecycle_.stage()) {
    case Stage::kStarting:
      if (AllIn(members_, Phase::kRunning)) {
        for (Member& member : members_) member.Accept();
        Apply(lifecycle_.Happened(Event::kBecameReady, now));
      }
      break;
    case Stage::kDelay:
      if (AllAtLeast(members_, Stage::kGrace)) Apply(lifecycle_.Happened(Event::kWentQuiet, now));
      break;
    case Stage::kGrace:
      if (AllAtLeast(members_, Stage::kCancel)) Apply(lifecycle_.Happened(Event::kWentIdle, now));
      break;
    case Stage::kCancel:
      if (AllIn(members_, Phase::kDown)) Apply(lifecycle_.Happened(Event::kCompleted, now));
      break;
    case Stage::kStopped:
      if (finished_ || (!AllIn(members_, Phase::kDown) && last_patience_ > now)) break;
      finished_ = true;
      observer_.Finished(MakeReceipt());
      break;
    case Stage::kServing: break;
  }
  if (!finished_) observer_.Changed();
}

void Supervisor::Apply(const Lifecycle::Changes& changes) {
  if (changes.empty()) return;
  for (const Lifecycle::Change& change : changes) {
    log_(LogLevel::kInfo, "stage " + std::string(Name(change.entered)));
    observer_.StageEntered(change.entered);
    if (change.entered == Stage::kStopped) EnterStopped(change.why);
  }
  // A stage may have nothing to do, and its end the next.
  FollowProcesses();
}

void Supervisor::EnterStopped(Event why) {
  if (why != Event::kDeadlinePassed) return;
  last_patience_ = After(clock_.Now(), kPatience);
  for (Member& member : members_) member.Kill();
}

void Supervisor::OnTick() {
  const Instant now = clock_.Now();
  // By number: what comes of it may add one.
  for (size_t i = 0; i < members_.size(); ++i) members_[i].OnTick(now);
  Apply(lifecycle_.Advance(now));
  FollowProcesses();
}

Instant Supervisor::next_instant() const {
  if (finished_) return kNever;
  Instant next = std::min(lifecycle_.next_instant(), last_patience_);
  for (const Member& member : members_) next = std::min(next, member.next_instant());
  return next;
}

Member* Supervisor::Named(std::string_view name) {
  for (Member& member : members_) {
    if (member.spec().name == name && !member.removed()) return &member;
  }
  return nullptr;
}

void Supervisor::SetOptions(const Options& options) {
  options_ = options;
  lifecycle_.Configure(options.shutdown);
}

void Supervisor::SetSpec(ProcessSpec spec) {
  Member* const member = Named(spec.name);
  if (member != nullptr) member->SetSpec(std::move(spec));
}

Result<> Supervisor::CheckServing() const {
  if (lifecycle_.stage() == Stage::kServing) return {};
  return Fail(Code::kFailedPrecondition, IsStopping(lifecycle_.stage())
                                             ? "a shutdown is in progress"
                                             : "the daemon is starting");
}

Result<> Supervisor::BeginChanges(std::vector<Change> changes, const Cause& by,
                                  ChangeQueue::Changed changed) {
  if (auto serving = CheckServing(); !serving) return serving;
  for (const Change& change : changes) {
    if (change.kind != Change::Kind::kAdd && Named(change.spec.name) == nullptr) {
      return Fail(Code::kNotFound, "no process \"" + change.spec.name + "\"");
    }
  }
  changes_.Add(std::move(changes), by, std::move(changed));
  if (!finished_) observer_.Changed();
  return {};
}

void Supervisor::BeginChange(const Change& change, const Cause& by) {
  if (change.kind == Change::Kind::kAdd) {
    return members_.emplace_back(change.spec, context_).BeginAdd();
  }
  Member* const member = Named(change.spec.name);
  if (member == nullptr) {
    return ChangeIsOver({change.spec.name, "it was removed meanwhile", 0});
  }
  if (change.frozen != 0 && !member->IsFrozen(change.frozen)) {
    return ChangeIsOver({change.spec.name, "it is frozen no more", member->current().number});
  }
  if (change.kind == Change::Kind::kReplace) return member->BeginReplace(change.spec, by);
  for (const std::string& server : member->spec().servers) draining_.erase(server);
  member->Remove(by);
}

// What comes of it is in the log already.
void Supervisor::ReplaceFrozen(const Member& member) {
  const Cause by{.kind = Cause::Kind::kSupervisor, .who = "lastcalld", .reason = "it was frozen"};
  changes_.Add({{.kind = Change::Kind::kReplace,
                 .spec = {.name = member.spec().name},
                 .frozen = member.current().number}},
               by, nullptr);
}

void Supervisor::ChangeIsOver(const Member& member, const std::string& failure) {
  ChangeIsOver({member.spec().name, failure, member.removed() ? 0 : member.current().number});
}

void Supervisor::ChangeIsOver(Outcome outcome) {
  if (changes_.empty()) return;
  changes_.OnOver(std::move(outcome));
  if (!finished_) observer_.Changed();
}

Result<bool> Supervisor::SetDraining(const std::string& server, bool draining, const Cause& by) {
  std::vector<std::string> names;
  for (Member& member : members_) {
    if (member.removed()) continue;
    for (const std::string& name : member.spec().servers) {
      names.push_back(name);
      if (name != server) continue;
      if (IsStopping(lifecycle_.stage())) {
        return Fail(Code::kFailedPrecondition, "a shutdown is in progress; every server drains");
      }
      if (member.current().process != nullptr && member.current().process->drainable() == nullptr) {
        return Fail(Code::kUnimplemented, "process " + member.spec().name +
                                              " cannot drain its servers; stop or replace it");
      }
      const bool changed = draining
                               ? draining_.try_emplace(server, Draining{by, clock_.Now()}).second
                               : draining_.erase(server) > 0;
      if (changed) {
        member.SetDraining(server, draining);
        log_(LogLevel::kInfo,
             "server " + server +
                 (draining ? ": draining, requested by " : ": draining lifted by ") + Describe(by));
        observer_.Changed();
      }
      return changed;
    }
  }
  return Fail(Code::kNotFound, "no server \"" + server + "\"; " + SpellingHint(server, names));
}

Receipt Supervisor::MakeReceipt() {
  Receipt receipt{.subject = "lastcalld", .pid = getpid(), .began = began_};
  receipt.took = clock_.Now() - first_request_;
  receipt.requests = lifecycle_.ledger().entries();
  receipt.requests_left_out = lifecycle_.ledger().left_out();
  receipt.stages = lifecycle_.records();
  for (Member& member : members_) {
    for (Receipt& one : member.TakeReceipts()) AddTo(receipt, std::move(one));
  }
  if (start_error_) {
    receipt.failure = start_error_->message;
    receipt.exit_code =
        start_error_->code == Code::kInvalidArgument ? kExitBadConfiguration : kExitInternal;
  }
  return receipt;
}

}  // namespace lastcall
