#include "daemon/reload/reload.h"

#include <algorithm>
#include <utility>

namespace lastcall {
namespace {

using Kind = Supervisor::Change::Kind;

}  // namespace

Error Reload::BeingReplaced() {
  return {Code::kFailedPrecondition,
          "lastcalld is being replaced by another build; ask again in a moment"};
}

Reload::Reload(Parts parts, ReloadOwner& owner) : parts_(std::move(parts)), owner_(owner) {}

Result<> Reload::CheckStays() const {
  if (IsStopping(parts_.supervisor.stage())) return parts_.supervisor.CheckServing();
  if (attempt_ && attempt_->handover == Handover::kLeaving) {
    return tl::unexpected(BeingReplaced());
  }
  return {};
}

void Reload::Begin(const Cause& by, bool wait, ReloadDone done) {
  if (const auto serving = parts_.supervisor.CheckServing(); !serving) {
    return done(tl::unexpected(serving.error()));
  }
  if (attempt_ && attempt_->handover == Handover::kLeaving) {
    return done(ReloadReport{.continues = attempt_->number});
  }
  const Config& running = parts_.running.config;
  if (running.from_pipe) {
    const Error error{Code::kInvalidArgument,
                      running.file +
                          ": the configuration came through a pipe, which can be read "
                          "once; restart the daemon, and give it a file to reload"};
    Say(LogLevel::kError, "reload refused, nothing has changed: " + error.message);
    return done(tl::unexpected(error));
  }
  queued_.push_back({by, {wait, std::move(done)}});
  NextIfFree();
}

void Reload::NextIfFree() {
  if (!attempt_ && !queued_.empty()) Next();
}

// For everybody who waits: what they want is what is on disk now.
void Reload::Next() {
  auto queued = std::exchange(queued_, {});
  const auto serving = parts_.supervisor.CheckServing();
  if (!serving) {
    for (Queued& one : queued) one.caller.done(tl::unexpected(serving.error()));
    return;
  }
  attempt_.emplace(Attempt{.by = queued.front().by});
  for (Queued& one : queued) callers_.push_back(std::move(one.caller));
  // The admin service has said so of its callers.
  if (attempt_->by.kind != Cause::Kind::kAdmin) {
    Say(LogLevel::kInfo, "reload requested by " + Describe(attempt_->by));
  }
  parts_.readings.BeginLook(
      parts_.running.config.ready,
      [this](Result<Readings::AnotherBuild> another) { BuildKnown(std::move(another)); });
}

void Reload::BuildKnown(Result<Readings::AnotherBuild> another) {
  if (const auto stays = CheckStays(); !stays) return Refuse(stays.error());
  const bool gone = !another && another.error().code == Code::kNotFound;
  if (!another && !gone) return Refuse(another.error());
  if (gone) Say(LogLevel::kWarning, another.error().message + "; the running build goes on");
  if (another && *another) {
    attempt_->handover = Handover::kChecking;
    return owner_.BeginHandover(std::move(**another), attempt_->by);
  }
  BeginPrepare([this](Result<Candidate> candidate) {
    if (!candidate) return Refuse(candidate.error());
    attempt_->candidate = std::move(*candidate);
    BeginNames();
  });
}

// Reads beside the loop, and compares here; nothing changes.
void Reload::BeginPrepare(std::function<void(Result<Candidate>)> done) {
  if (const auto stays = CheckStays(); !stays) return done(tl::unexpected(stays.error()));
  parts_.readings.BeginPrepare(
      parts_.running.config, [this, done = std::move(done)](Result<Prepared> prepared) {
        done(prepared ? Judge(std::move(*prepared)) : tl::unexpected(prepared.error()));
      });
}

Result<Reload::Candidate> Reload::Judge(Prepared prepared) const {
  const Setup& running = parts_.running;
  if (prepared.loaded) {
    for (ConfigProblem& one : NeedsRestart(running.config, prepared.config)) {
      prepared.problems.push_back(std::move(one));
    }
  }
  if (!prepared.problems.empty()) return tl::unexpected(AsError(prepared.problems));
  Candidate candidate{
      .setup = {}, .changes = {}, .warnings = std::move(prepared.warnings), .names = {}};
  candidate.setup = SetupOf(std::move(prepared));
  candidate.changes = Compare(running.config, running.fingerprints, candidate.setup.config,
                              candidate.setup.fingerprints);
  return candidate;
}

void Reload::BeginNames() {
  const Config& config = attempt_->candidate->setup.config;
  std::set<std::string> hosts = SocketBinder::Unknown(config, parts_.running.sockets);
  const auto known = [this](Result<HostNames> names) {
    if (!names) return Refuse(names.error());
    attempt_->candidate->names = std::move(*names);
    BeginPreflight(*attempt_->candidate, [this](Result<PreflightReport> preflight) {
      preflight ? ChangeOver(*preflight) : Refuse(preflight.error());
    });
  };
  if (hosts.empty()) return known(HostNames());
  if (const auto stays = CheckStays(); !stays) return Refuse(stays.error());
  parts_.readings.BeginNames(std::move(hosts), config.ready, known);
}

void Reload::BeginPreflight(const Candidate& candidate, Readings::Done<PreflightReport> done) {
  if (const auto stays = CheckStays(); !stays) return done(tl::unexpected(stays.error()));
  std::vector<std::string> processes = candidate.changes.added;
  processes.insert(processes.end(), candidate.changes.replaced.begin(),
                   candidate.changes.replaced.end());
  parts_.readings.BeginPreflight(candidate.setup.config, std::move(processes),
                                 [this, done = std::move(done)](Result<PreflightReport> preflight) {
                                   if (preflight) {
                                     for (const std::string& one : preflight->warnings) {
                                       Say(LogLevel::kWarning, one);
                                     }
                                   }
                                   done(std::move(preflight));
                                 });
}

// From what runs to the candidate, which was found good.
void Reload::ChangeOver(const PreflightReport& preflight) {
  if (const auto serving = parts_.supervisor.CheckServing(); !serving) {
    return Refuse(serving.error());
  }
  if (!preflight.problems.empty()) return Refuse(AsError(preflight.problems));
  // Then the successors will say what is wrong.
  for (const std::string& failure : preflight.failures) {
    Say(LogLevel::kWarning, "plugins could not be tried: " + failure);
  }
  Candidate& candidate = *attempt_->candidate;
  if (const auto bound = Bind(candidate); !bound) return Refuse(bound.error());
  for (const std::string& warning : candidate.warnings) Say(LogLevel::kWarning, warning);
  owner_.Changing();
  for (const ConfigChange& change : candidate.changes.list) {
    Say(LogLevel::kInfo, std::string("reload: ") + change.sign + " " + change.what +
                             (change.detail.empty() ? "" : ": " + change.detail));
  }
  for (Caller& caller : callers_) {
    if (!caller.wait) caller.done(ReloadReport{.changes = candidate.changes.list});
  }
  std::erase_if(callers_, [](const Caller& caller) { return !caller.wait; });
  const auto begun = parts_.supervisor.BeginChanges(
      ChangesTo(candidate), attempt_->by,
      [this](const std::vector<Supervisor::Outcome>& outcomes) { Over(outcomes); });
  if (begun) return;
  (void)RestoreRights(parts_.running.config, candidate.setup.sockets);
  Refuse(begun.error());
}

// Whatever fails, the daemon is there: kUnavailable would say that it is not.
Result<> Reload::Bind(Candidate& candidate) {
  owner_.BeforeBind();
  auto sockets =
      parts_.binder.Bind(candidate.setup.config, parts_.running.sockets, candidate.names);
  if (!sockets) return Fail(Code::kInvalidArgument, sockets.error().message);
  candidate.setup.sockets = std::move(*sockets);
  const auto set = SetRights(candidate.setup.config, candidate.setup.sockets);
  if (set) return {};
  (void)RestoreRights(parts_.running.config, candidate.setup.sockets);
  return Fail(Code::kInvalidArgument, set.error().message);
}

std::vector<Supervisor::Change> Reload::ChangesTo(const Candidate& candidate) const {
  std::vector<Supervisor::Change> changes;
  const auto add = [&](Kind kind, const std::vector<std::string>& names) {
    for (const std::string& name : names) {
      changes.push_back({kind, kind == Kind::kRemove ? ProcessSpec{.name = name}
                                                     : parts_.spec_of(candidate.setup, name)});
    }
  };
  add(Kind::kAdd, candidate.changes.added);
  add(Kind::kReplace, candidate.changes.replaced);
  add(Kind::kRemove, candidate.changes.removed);
  return changes;
}

void Reload::Over(const std::vector<Supervisor::Outcome>& outcomes) {
  const ReloadReport report{.changes = attempt_->candidate->changes.list, .processes = outcomes};
  Note("", report);
  Candidate candidate = std::move(*attempt_->candidate);
  attempt_.reset();
  TakeEffect(std::move(candidate), outcomes);
  Answer(report);
  // Not in the middle of the supervisor's own change.
  if (!queued_.empty()) Post([this] { NextIfFree(); });
}

// What was changed becomes what runs. Where something failed, that is the old setup with the
// processes that were changed before.
void Reload::TakeEffect(Candidate candidate, const std::vector<Supervisor::Outcome>& outcomes) {
  Setup& running = parts_.running;
  auto dropped = AllOf(running.sockets);
  dropped.merge(AllOf(candidate.setup.sockets));
  const bool whole = AllDone(outcomes, candidate.changes);
  if (!whole) SayFailures(outcomes);
  auto merged = whole ? std::move(candidate.setup) : Merge(running, candidate.setup, outcomes);
  Candidate before{.setup = std::exchange(running, std::move(merged)),
                   .changes = {},
                   .warnings = {},
                   .names = {}};
  // Of those that have not changed: what the others were before is not in the configuration any more.
  const auto set = whole ? Result<>() : RestoreRights(running.config, candidate.setup.sockets);
  if (!set) Say(LogLevel::kError, "reload: " + set.error().message);
  for (const auto& listener : AllOf(running.sockets)) dropped.erase(listener);
  owner_.TookEffect(before.setup, dropped);
  Discard(std::move(before));
  Discard(std::move(candidate));
}

// The sockets end here and now.
void Reload::Discard(Candidate candidate) {
  candidate.setup.sockets.clear();
  parts_.readings.Discard(std::make_shared<Candidate>(std::move(candidate)));
}

void Reload::SayFailures(const std::vector<Supervisor::Outcome>& outcomes) const {
  for (const Supervisor::Outcome& outcome : outcomes) {
    if (outcome.failure.empty()) continue;
    Say(LogLevel::kError, "reload: process " + outcome.process + ": " + outcome.failure +
                              "; it and what comes after it remain unchanged");
  }
}

void Reload::Refuse(const Error& error) {
  if (attempt_) Note(error.message, {});
  if (attempt_ && attempt_->candidate) Discard(std::move(*attempt_->candidate));
  attempt_.reset();
  Say(LogLevel::kError, "reload refused, nothing has changed: " + error.message);
  Answer(tl::unexpected(error));
  if (!queued_.empty()) Post([this] { NextIfFree(); });
}

void Reload::Answer(const Result<ReloadReport>& result) {
  for (Caller& caller : std::exchange(callers_, {})) caller.done(result);
}

void Reload::HandoverFailed(const Error& error) {
  if (attempt_->handover == Handover::kChecking) return Refuse(error);
  attempt_.reset();  // who had waited was sent on
  if (!queued_.empty()) Post([this] { NextIfFree(); });
}

void Reload::SendOn(uint64_t number) {
  attempt_->handover = Handover::kLeaving;
  attempt_->number = number;
  const ReloadReport report{.continues = number};
  for (Queued& one : std::exchange(queued_, {})) one.caller.done(report);
  Answer(report);
}

// What is as it was is not told: there may be very much of it.
void Reload::Note(const std::string& refusal, const ReloadReport& report) {
  constexpr size_t kMost = 100;
  ReloadNote& note = last_.emplace();
  note.at = parts_.clock.Wall();
  note.by = attempt_->by;
  note.refusal = refusal;
  for (const ConfigChange& change : report.changes) {
    if (change.sign != '=' && note.report.changes.size() < kMost) {
      note.report.changes.push_back(change);
    }
  }
  for (const Supervisor::Outcome& outcome : report.processes) {
    if (note.report.processes.size() < kMost) note.report.processes.push_back(outcome);
  }
  owner_.Noted();
}

}  // namespace lastcall
