// How the daemon reads everything afresh and changes what has changed.
#include <algorithm>
#include <utility>

#include <lastcall/base/spelling.h>
#include <lastcall/net/acceptor.h>

#include "daemon/daemon.h"
#include "wire/convert.h"

namespace lastcall {
namespace {

void AddChanges(const Changes& changes, admin::v1::ReloadReply& reply) {
  for (const ConfigChange& change : changes.list) {
    admin::v1::ConfigChange& one = *reply.add_changes();
    one.set_sign(std::string(1, change.sign));
    one.set_what(change.what);
    one.set_detail(change.detail);
    for (const ValueChange& value : change.values) {
      admin::v1::ValueChange& changed = *one.add_values();
      changed.set_setting(value.setting);
      changed.set_before(value.before);
      changed.set_after(value.after);
    }
  }
}

void AddOutcomes(const std::vector<Supervisor::Outcome>& outcomes, admin::v1::ReloadReply& reply) {
  for (const Supervisor::Outcome& outcome : outcomes) {
    admin::v1::ProcessOutcome& one = *reply.add_processes();
    one.set_process(outcome.process);
    one.set_failure(outcome.failure);
    one.set_incarnation(outcome.incarnation);
  }
}

bool AllDone(const std::vector<Supervisor::Outcome>& outcomes, const Changes& changes) {
  for (const Supervisor::Outcome& outcome : outcomes) {
    if (!outcome.failure.empty()) return false;
  }
  return outcomes.size() == changes.added.size() + changes.replaced.size() + changes.removed.size();
}

}  // namespace

void Daemon::ReloadRequested(const Cause& by) {
  admin::v1::ReloadRequest request;
  request.set_wait(true);
  // Who sent it reads the log.
  BeginReload(request, by, [](const Result<admin::v1::ReloadReply>&) {});
}

void Daemon::BeginReload(const admin::v1::ReloadRequest& request, const Cause& by,
                         std::function<void(Result<admin::v1::ReloadReply>)> answer) {
  if (supervisor_->stage() != Stage::kServing) {
    return answer(Fail(Code::kFailedPrecondition, IsStopping(supervisor_->stage())
                                                      ? "a shutdown is under way"
                                                      : "the daemon is starting"));
  }
  if (request.continues() != 0) return BeginContinued(request.continues(), std::move(answer));
  if (handover_ && handover_->reload != 0) return SendOn(answer);
  if (config_.from_pipe) {
    const Error error{Code::kInvalidArgument,
                      config_.file +
                          ": the configuration came through a pipe, which can be read "
                          "once; restart the daemon, and give it a file to reload"};
    Say(LogLevel::kError, "reload refused, nothing has changed: " + error.message);
    return answer(tl::unexpected(error));
  }
  if (request.dry_run()) return BeginDryRun(answer);
  waiting_.push_back({by, request.wait(), std::move(answer)});
  NextReloadIfFree();
}

void Daemon::BeginDryRun(const std::function<void(Result<admin::v1::ReloadReply>)>& answer) {
  BeginLook([this, answer](const Result<AnotherBuild>& another) {
    if (!another && another.error().code != Code::kNotFound) {
      return answer(tl::unexpected(another.error()));
    }
    admin::v1::ReloadReply reply;
    if (another && *another) AddOwnChange(reply);
    BeginPrepare([this, answer, reply](Result<Candidate> candidate) mutable {
      if (!candidate) return answer(tl::unexpected(candidate.error()));
      EndListening();
      if (const auto fine = binder_.Probe(candidate->prepared.config, sockets_); !fine) {
        return answer(Fail(Code::kInvalidArgument, fine.error().message));
      }
      AddChanges(candidate->changes, reply);
      BeginTrial(*candidate, [reply, answer](const Result<TrialResult>& trial) {
        if (!trial) return answer(tl::unexpected(trial.error()));
        if (!trial->problems.empty()) return answer(tl::unexpected(AsError(trial->problems)));
        if (trial->failures.empty()) return answer(reply);
        answer(Fail(Code::kInternal, "plugins could not be tried: " + trial->failures.front()));
      });
    });
  });
}

// For everybody who waits: what they want is what is on disk now.
void Daemon::NextReload() {
  if (supervisor_->stage() != Stage::kServing) {
    for (ReloadCaller& caller : std::exchange(waiting_, {})) {
      caller.answer(Fail(Code::kFailedPrecondition, "a shutdown is under way"));
    }
    return;
  }
  reloading_ = std::exchange(waiting_, {});
  attempt_.emplace(Attempt{.by = reloading_.front().by, .candidate = {}});
  // The admin service has said so of its callers.
  if (attempt_->by.kind != Cause::Kind::kAdmin) {
    Say(LogLevel::kInfo, "reload asked by " + Describe(attempt_->by));
  }
  BeginLook([this](Result<AnotherBuild> another) { BuildKnown(std::move(another)); });
}

void Daemon::BuildKnown(Result<AnotherBuild> another) {
  if (const auto error = OnTheWayOut()) return RefuseReload(*error);
  const bool gone = !another && another.error().code == Code::kNotFound;
  if (!another && !gone) return RefuseReload(another.error());
  if (gone) Say(LogLevel::kWarning, another.error().message + "; the build that runs goes on");
  if (another && *another) return BeginHandover(std::move(**another));
  BeginChanges();
}

void Daemon::BeginChanges() {
  BeginPrepare([this](Result<Candidate> candidate) {
    if (!candidate) return RefuseReload(candidate.error());
    attempt_->candidate = std::move(*candidate);
    BeginNames(SocketBinder::Unknown(attempt_->candidate->prepared.config, sockets_),
               [this](const HostNames& names) {
                 attempt_->candidate->names = names;
                 BeginTrial(*attempt_->candidate, [this](const Result<TrialResult>& trial) {
                   trial ? ChangeOver(*trial) : RefuseReload(trial.error());
                 });
               });
  });
}

void Daemon::RefuseReload(const Error& error) {
  if (attempt_) NoteReload(attempt_->by, {}, error.message);
  attempt_.reset();
  Say(LogLevel::kError, "reload refused, nothing has changed: " + error.message);
  for (ReloadCaller& caller : std::exchange(reloading_, {})) caller.answer(tl::unexpected(error));
  if (!waiting_.empty()) Post([this] { NextReloadIfFree(); });
}

// From the configuration that runs to the candidate, which was found good.
void Daemon::ChangeOver(const TrialResult& trial) {
  if (supervisor_->stage() != Stage::kServing) {
    return RefuseReload({Code::kFailedPrecondition, "a shutdown is under way"});
  }
  if (!trial.problems.empty()) return RefuseReload(AsError(trial.problems));
  // Then the successors will say what is wrong.
  for (const std::string& failure : trial.failures) {
    Say(LogLevel::kWarning, "plugins could not be tried: " + failure);
  }
  Candidate& candidate = *attempt_->candidate;
  const Config& config = candidate.prepared.config;
  EndListening();  // what the reload before has dropped may be wanted again
  auto sockets = binder_.Bind(config, sockets_, candidate.names);
  // Whatever it was, the daemon is there: kUnavailable would say that it is not.
  if (!sockets) return RefuseReload({Code::kInvalidArgument, sockets.error().message});
  candidate.sockets = std::move(*sockets);
  if (const auto set = SetRights(config, candidate.sockets); !set) {
    (void)RestoreRights(config_, candidate.sockets);
    return RefuseReload({Code::kInvalidArgument, set.error().message});
  }
  for (const std::string& warning : candidate.prepared.warnings) Say(LogLevel::kWarning, warning);
  systemd_.Reloading("reloading");

  using Kind = Supervisor::Change::Kind;
  std::vector<Supervisor::Change> changes;
  const auto add = [&](Kind kind, const std::vector<std::string>& names) {
    for (const std::string& name : names) {
      changes.push_back({kind, kind == Kind::kRemove ? Supervisor::Member{.name = name}
                                                     : MemberOf(config, name, candidate.sockets)});
    }
  };
  add(Kind::kAdd, candidate.changes.added);
  add(Kind::kReplace, candidate.changes.replaced);
  add(Kind::kRemove, candidate.changes.removed);
  admin::v1::ReloadReply begun;
  AddChanges(candidate.changes, begun);
  for (const ConfigChange& change : candidate.changes.list) {
    Say(LogLevel::kInfo, std::string("reload: ") + change.sign + " " + change.what +
                             (change.detail.empty() ? "" : ": " + change.detail));
  }
  for (ReloadCaller& caller : reloading_) {
    if (!caller.wait) caller.answer(begun);
  }
  std::erase_if(reloading_, [](const ReloadCaller& caller) { return !caller.wait; });
  const auto begin = supervisor_->BeginChanges(
      std::move(changes), attempt_->by,
      [this](const std::vector<Supervisor::Outcome>& outcomes) { ReloadOver(outcomes); });
  if (begin) return;
  (void)RestoreRights(config_, candidate.sockets);
  RefuseReload(begin.error());
}

void Daemon::AddOwnChange(admin::v1::ReloadReply& reply) {
  admin::v1::ConfigChange& change = *reply.add_changes();
  change.set_sign("~");
  change.set_what("lastcalld");
  change.set_detail("another build");
}

void Daemon::ReloadOver(const std::vector<Supervisor::Outcome>& outcomes) {
  admin::v1::ReloadReply reply;
  AddChanges(attempt_->candidate->changes, reply);
  AddOutcomes(outcomes, reply);
  auto before = AllOf(sockets_);
  before.merge(AllOf(attempt_->candidate->sockets));
  NoteReload(attempt_->by, reply, "");
  TakeEffect(outcomes);
  for (const auto& listener : AllOf(sockets_)) before.erase(listener);
  BeginEndListening(before, Acceptor::kLastCall);
  Post([this] { WatchSockets(); });  // not in the middle of the supervisor's own change
  if (supervisor_->stage() == Stage::kServing) systemd_.Ready(Summary());
  for (ReloadCaller& caller : std::exchange(reloading_, {})) caller.answer(reply);
  if (waiting_.empty()) return;
  // Not in the middle of the supervisor's own change.
  Post([this] { NextReloadIfFree(); });
}

// For whoever watches. What is as it was is not told: there may be very much of it.
void Daemon::NoteReload(const Cause& by, const admin::v1::ReloadReply& reply,
                        const std::string& refusal) {
  constexpr int kMost = 100;
  admin::v1::Reload& note = last_reload_.emplace();
  note.set_at(FormatWallTime(clock_.Wall()));
  note.set_by(Describe(by));
  note.set_refusal(refusal);
  for (const admin::v1::ConfigChange& change : reply.changes()) {
    if (change.sign() != "=" && note.changes_size() < kMost) *note.add_changes() = change;
  }
  for (const admin::v1::ProcessOutcome& outcome : reply.processes()) {
    if (note.processes_size() < kMost) *note.add_processes() = outcome;
  }
  Changed();
}

void Daemon::NextReloadIfFree() {
  if (!attempt_ && !handover_ && !waiting_.empty()) NextReload();
}

// What was changed becomes the configuration that runs. Where something failed, that is the old one
// with the processes that were changed before.
void Daemon::TakeEffect(const std::vector<Supervisor::Outcome>& outcomes) {
  Candidate candidate = std::move(*attempt_->candidate);
  attempt_.reset();
  Prepared& prepared = candidate.prepared;
  if (AllDone(outcomes, candidate.changes)) {
    if (config_.log_level != prepared.config.log_level) {
      const Cause by{.kind = Cause::Kind::kProgram, .who = "reload"};
      (void)SetLogLevel(prepared.config.log_level, by);
    }
    config_ = std::move(prepared.config);
    contents_ = std::move(prepared.contents);
    roles_ = std::move(prepared.roles);
    sockets_ = std::move(candidate.sockets);
    supervisor_->SetOptions(SupervisorOptions(config_));
    ForgetServers();
    admin_->SetRoles(roles_);
    for (const ProcessConfig& process : config_.processes) {
      supervisor_->SetMember(MemberOf(config_, process.name, sockets_));
    }
    return;
  }
  for (const Supervisor::Outcome& outcome : outcomes) {
    if (!outcome.failure.empty()) {
      Say(LogLevel::kError, "reload: process " + outcome.process + ": " + outcome.failure +
                                "; it and what comes after it are as they were");
      continue;
    }
    const auto of_it = [&](const auto& one) { return one.process == outcome.process; };
    const auto named = [&](const ProcessConfig& one) { return one.name == outcome.process; };
    std::erase_if(config_.servers, of_it);
    std::erase_if(config_.processes, named);
    contents_.erase(outcome.process);
    for (const ServerConfig& server : prepared.config.servers) {
      if (!of_it(server)) continue;
      std::erase_if(config_.servers, [&](const auto& one) { return one.name == server.name; });
      config_.servers.push_back(server);
      sockets_[server.name] = candidate.sockets.at(server.name);
    }
    for (const ProcessConfig& process : prepared.config.processes) {
      if (!named(process)) continue;
      config_.processes.push_back(process);
      contents_[process.name] = prepared.contents.at(process.name);
    }
  }
  // Nobody is behind the sockets of a server that went with a process that was changed.
  std::erase_if(sockets_, [&](const auto& bound) {
    return std::none_of(config_.servers.begin(), config_.servers.end(),
                        [&](const ServerConfig& server) { return server.name == bound.first; });
  });
  ForgetServers();
  // Of those that have not changed: what the others were before is not in the configuration any more.
  if (const auto set = RestoreRights(config_, candidate.sockets); !set) {
    Say(LogLevel::kError, "reload: " + set.error().message);
  }
}

void Daemon::ForgetServers() {
  ended_calls_.KeepOnly([this](const std::string& name) { return sockets_.contains(name); });
}

// Why it cannot begin now; kOk: it can.
Error Daemon::CheckRestart(const std::string& process) const {
  std::vector<std::string> names;
  for (const ProcessConfig& one : config_.processes) names.push_back(one.name);
  if (std::find(names.begin(), names.end(), process) == names.end()) {
    return {Code::kNotFound, "no process \"" + process + "\"; " + SpellingHint(process, names)};
  }
  if (handover_) {
    return {Code::kFailedPrecondition,
            "lastcalld is being replaced by another build; ask again in a moment"};
  }
  return {Code::kOk, ""};
}

// What is in the files is read first: what comes there later is a change that a reload must find.
void Daemon::BeginRestart(const admin::v1::RestartRequest& request, const Cause& by,
                          std::function<void(Result<admin::v1::ReloadReply>)> answer) {
  if (const Error error = CheckRestart(request.process()); error.code != Code::kOk) {
    return answer(tl::unexpected(error));
  }
  BeginContents([this, request, by, answer = std::move(answer)](const Result<Contents>& contents) {
    if (!contents && contents.error().code == Code::kFailedPrecondition) {
      return answer(tl::unexpected(contents.error()));
    }
    // Where it is not known it is restarted all the same: the next reload finds out what there is.
    Restart(request, by, contents.value_or(Contents()), answer);
  });
}

void Daemon::Restart(const admin::v1::RestartRequest& request, const Cause& by,
                     const Contents& contents,
                     const std::function<void(Result<admin::v1::ReloadReply>)>& answer) {
  if (const Error error = CheckRestart(request.process()); error.code != Code::kOk) {
    return answer(tl::unexpected(error));
  }
  const bool wait = request.wait();
  // As it is when its turn comes: a reload in progress knows better what is in the files.
  const Contents known = attempt_ ? Contents() : contents;
  const auto begin = supervisor_->BeginChanges(
      {{Supervisor::Change::Kind::kReplace, {.name = request.process()}}}, by,
      [this, wait, answer, known](const std::vector<Supervisor::Outcome>& outcomes) {
        for (const Supervisor::Outcome& outcome : outcomes) {
          const auto now = known.find(outcome.process);
          const bool loaded = now != known.end() && contents_.contains(outcome.process);
          if (loaded && outcome.failure.empty()) contents_[outcome.process] = now->second;
        }
        admin::v1::ReloadReply reply;
        AddOutcomes(outcomes, reply);
        if (wait) answer(std::move(reply));
      });
  if (!begin) return answer(tl::unexpected(begin.error()));
  if (!wait) answer(admin::v1::ReloadReply());
}

}  // namespace lastcall
