// How the daemon reads everything afresh and changes what has changed.
#include <algorithm>
#include <utility>

#include <lastcall/base/spelling.h>

#include "daemon/check.h"
#include "daemon/config_roles.h"
#include "daemon/convert.h"
#include "daemon/daemon.h"
#include "daemon/trust_check.h"

namespace lastcall {
namespace {

void AddChanges(const Changes& changes, admin::v1::ReloadReply& reply) {
  for (const ConfigChange& change : changes.list) {
    admin::v1::ConfigChange& one = *reply.add_changes();
    one.set_sign(std::string(1, change.sign));
    one.set_what(change.what);
    one.set_detail(change.detail);
  }
}

void AddOutcomes(const std::vector<Supervisor::Outcome>& outcomes,
                 admin::v1::ReloadReply& reply) {
  for (const Supervisor::Outcome& outcome : outcomes) {
    admin::v1::ProcessOutcome& one = *reply.add_processes();
    one.set_process(outcome.process);
    one.set_failure(outcome.failure);
    one.set_incarnation(outcome.incarnation);
  }
}

Error AsError(const std::vector<ConfigProblem>& problems) {
  std::string text = Format(problems);
  if (!text.empty()) text.pop_back();
  return {Code::kInvalidArgument, std::move(text)};
}

bool AllDone(const std::vector<Supervisor::Outcome>& outcomes, const Changes& changes) {
  for (const Supervisor::Outcome& outcome : outcomes) {
    if (!outcome.failure.empty()) return false;
  }
  return outcomes.size() ==
         changes.added.size() + changes.replaced.size() + changes.removed.size();
}

}  // namespace

void Daemon::ReloadRequested(const Cause& by) {
  admin::v1::ReloadRequest request;
  request.set_wait(true);
  // Who sent it reads the log.
  BeginReload(request, by, [](const Result<admin::v1::ReloadReply>&) {});
}

// Reads and compares; nothing changes.
Result<Daemon::Candidate> Daemon::Prepare() const {
  Candidate candidate;
  if (config_.file.empty()) {
    candidate.config = config_;  // --plugin: its files may have changed all the same
  } else {
    auto config = LoadConfig(config_.file);
    if (!config) return tl::unexpected(AsError(config.error()));
    candidate.config = std::move(*config);
  }
  auto problems = CheckTrust(candidate.config, host_program_);
  for (ConfigProblem& one : CheckPlugins(candidate.config)) problems.push_back(std::move(one));
  for (ConfigProblem& one : ReadCertificates(candidate.config)) problems.push_back(one);
  for (ConfigProblem& one : OutOfReach(config_, candidate.config)) problems.push_back(one);
  if (!problems.empty()) return tl::unexpected(AsError(problems));
  candidate.contents = ContentsOf(candidate.config, host_program_);
  candidate.changes = Compare(config_, contents_, candidate.config, candidate.contents);
  return candidate;
}

void Daemon::BeginReload(const admin::v1::ReloadRequest& request, const Cause& by,
                         std::function<void(Result<admin::v1::ReloadReply>)> answer) {
  if (supervisor_->stage() != Stage::kServing) {
    return answer(Fail(Code::kFailedPrecondition,
                       IsStopping(supervisor_->stage()) ? "a shutdown is under way"
                                                        : "the daemon is starting"));
  }
  if (request.continues() != 0) return BeginContinued(request.continues(), std::move(answer));
  if (handover_ && handover_->reload != 0) return SendOn(answer);
  if (request.dry_run()) {
    const auto candidate = Prepare();
    if (!candidate) return answer(tl::unexpected(candidate.error()));
    admin::v1::ReloadReply reply;
    const auto another = OpenAnotherBuild(self_.program);
    if (another && *another) AddOwnChange(reply);
    AddChanges(candidate->changes, reply);
    return BeginTrial(*candidate, [reply, answer](const TrialResult& trial) {
      if (!trial.problems.empty()) return answer(tl::unexpected(AsError(trial.problems)));
      if (trial.failures.empty()) return answer(reply);
      answer(Fail(Code::kInternal, "plugins could not be tried: " + trial.failures.front()));
    });
  }
  waiting_.push_back({by, request.wait(), std::move(answer)});
  if (!candidate_ && !handover_) NextReload();
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
  const Cause by = reloading_.front().by;
  // The admin service has said so of its callers.
  if (by.kind != Cause::Kind::kAdmin) Say(LogLevel::kInfo, "reload asked by " + Describe(by));
  auto another = OpenAnotherBuild(self_.program);
  if (!another && another.error().code == Code::kFailedPrecondition) {
    return RefuseReload(another.error());
  }
  if (!another) Say(LogLevel::kWarning, another.error().message + "; the build that runs goes on");
  if (another && *another) return BeginHandover(by, std::move(**another));
  BeginChanges(by);
}

void Daemon::BeginChanges(const Cause& by) {
  auto candidate = Prepare();
  if (!candidate) return RefuseReload(candidate.error());
  candidate_ = std::move(*candidate);
  names_.Begin(SocketBinder::Unknown(candidate_->config, sockets_), candidate_->config.ready,
               [this, by](const HostNames& names) { NamesKnown(by, names); });
}

void Daemon::NamesKnown(const Cause& by, const HostNames& names) {
  if (supervisor_->stage() != Stage::kServing) {
    return RefuseReload({Code::kFailedPrecondition, "a shutdown is under way"});
  }
  candidate_->names = names;
  BeginTrial(*candidate_, [this, by](const TrialResult& trial) { ChangeOver(by, trial); });
}

// Plugins of the processes that are to start may not live through it: they are tried elsewhere.
void Daemon::BeginTrial(const Candidate& candidate,
                        std::function<void(const TrialResult&)> done) {
  std::vector<std::string> processes = candidate.changes.added;
  processes.insert(processes.end(), candidate.changes.replaced.begin(),
                   candidate.changes.replaced.end());
  trials_.Begin(candidate.config, std::move(processes), host_program_,
                [this, done = std::move(done)](const TrialResult& trial) {
                  for (const std::string& warning : trial.warnings) {
                    Say(LogLevel::kWarning, warning);
                  }
                  done(trial);
                });
}

void Daemon::RefuseReload(const Error& error) {
  candidate_.reset();
  Say(LogLevel::kError, "reload refused, nothing has changed: " + error.message);
  for (ReloadCaller& caller : std::exchange(reloading_, {})) caller.answer(tl::unexpected(error));
  if (!waiting_.empty()) Post([this] { NextReloadIfFree(); });
}

// From the configuration that runs to the candidate, which was found good.
void Daemon::ChangeOver(const Cause& by, const TrialResult& trial) {
  if (supervisor_->stage() != Stage::kServing) {
    return RefuseReload({Code::kFailedPrecondition, "a shutdown is under way"});
  }
  if (!trial.problems.empty()) return RefuseReload(AsError(trial.problems));
  // Then the successors will say what is wrong.
  for (const std::string& failure : trial.failures) {
    Say(LogLevel::kWarning, "plugins could not be tried: " + failure);
  }
  auto sockets = binder_.Bind(candidate_->config, sockets_, candidate_->names);
  // Whatever it was, the daemon is there: kUnavailable would say that it is not.
  if (!sockets) return RefuseReload({Code::kInvalidArgument, sockets.error().message});
  candidate_->sockets = std::move(*sockets);
  for (const std::string& warning : TlsWarnings(candidate_->config, clock_.Wall())) {
    Say(LogLevel::kWarning, warning);
  }
  for (const std::string& warning : GroupWarnings(candidate_->config)) {
    Say(LogLevel::kWarning, warning);
  }
  systemd_.Reloading("reloading");

  using Kind = Supervisor::Change::Kind;
  std::vector<Supervisor::Change> changes;
  const auto add = [&](Kind kind, const std::vector<std::string>& names) {
    for (const std::string& name : names) {
      changes.push_back({kind, kind == Kind::kRemove
                                   ? Supervisor::Member{.name = name}
                                   : MemberOf(candidate_->config, name, candidate_->sockets)});
    }
  };
  add(Kind::kAdd, candidate_->changes.added);
  add(Kind::kReplace, candidate_->changes.replaced);
  add(Kind::kRemove, candidate_->changes.removed);
  admin::v1::ReloadReply begun;
  AddChanges(candidate_->changes, begun);
  for (const ConfigChange& change : candidate_->changes.list) {
    Say(LogLevel::kInfo, std::string("reload: ") + change.sign + " " + change.what +
                             (change.detail.empty() ? "" : ": " + change.detail));
  }
  for (ReloadCaller& caller : reloading_) {
    if (!caller.wait) caller.answer(begun);
  }
  std::erase_if(reloading_, [](const ReloadCaller& caller) { return !caller.wait; });
  const auto begin = supervisor_->BeginChanges(
      std::move(changes), by,
      [this](const std::vector<Supervisor::Outcome>& outcomes) { ReloadOver(outcomes); });
  if (!begin) RefuseReload(begin.error());
}

void Daemon::AddOwnChange(admin::v1::ReloadReply& reply) {
  admin::v1::ConfigChange& change = *reply.add_changes();
  change.set_sign("~");
  change.set_what("lastcalld");
  change.set_detail("another build");
}

void Daemon::ReloadOver(const std::vector<Supervisor::Outcome>& outcomes) {
  admin::v1::ReloadReply reply;
  AddChanges(candidate_->changes, reply);
  AddOutcomes(outcomes, reply);
  TakeEffect(outcomes);
  if (supervisor_->stage() == Stage::kServing) systemd_.Ready(Summary());
  for (ReloadCaller& caller : std::exchange(reloading_, {})) caller.answer(reply);
  if (waiting_.empty()) return;
  // Not in the middle of the supervisor's own change.
  Post([this] { NextReloadIfFree(); });
}

void Daemon::NextReloadIfFree() {
  if (!candidate_ && !handover_ && !waiting_.empty()) NextReload();
}

// What was changed becomes the configuration that runs. Where something failed, that is the old one
// with the processes that were changed before.
void Daemon::TakeEffect(const std::vector<Supervisor::Outcome>& outcomes) {
  Candidate candidate = std::move(*candidate_);
  candidate_.reset();
  if (AllDone(outcomes, candidate.changes)) {
    if (config_.log_level != candidate.config.log_level) {
      const Cause by{.kind = Cause::Kind::kProgram, .who = "reload"};
      (void)SetLogLevel(candidate.config.log_level, by);
    }
    config_ = std::move(candidate.config);
    contents_ = std::move(candidate.contents);
    sockets_ = std::move(candidate.sockets);
    supervisor_->SetOptions(SupervisorOptions(config_));
    admin_->SetRoles(RolesOf(config_));
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
    for (const ServerConfig& server : candidate.config.servers) {
      if (!of_it(server)) continue;
      std::erase_if(config_.servers, [&](const auto& one) { return one.name == server.name; });
      config_.servers.push_back(server);
      sockets_[server.name] = candidate.sockets.at(server.name);
    }
    for (const ProcessConfig& process : candidate.config.processes) {
      if (!named(process)) continue;
      config_.processes.push_back(process);
      contents_[process.name] = candidate.contents.at(process.name);
    }
  }
  // Nobody is behind the sockets of a server that went with a process that was changed.
  std::erase_if(sockets_, [&](const auto& bound) {
    return std::none_of(config_.servers.begin(), config_.servers.end(),
                        [&](const ServerConfig& server) { return server.name == bound.first; });
  });
}

void Daemon::BeginRestart(const admin::v1::RestartRequest& request, const Cause& by,
                          std::function<void(Result<admin::v1::ReloadReply>)> answer) {
  std::vector<std::string> names;
  for (const ProcessConfig& one : config_.processes) names.push_back(one.name);
  if (std::find(names.begin(), names.end(), request.process()) == names.end()) {
    return answer(Fail(Code::kNotFound, "no process \"" + request.process() + "\"; " +
                                            SpellingHint(request.process(), names)));
  }
  if (handover_) {
    return answer(Fail(Code::kFailedPrecondition,
                       "lastcalld is being replaced by another build; ask again in a moment"));
  }
  const bool wait = request.wait();
  // As it is when its turn comes: a reload may be under way, which then knows better what is in the
  // files than is known now.
  const Contents contents = candidate_ ? Contents() : ContentsOf(config_, host_program_);
  const auto begin = supervisor_->BeginChanges(
      {{Supervisor::Change::Kind::kReplace, {.name = request.process()}}}, by,
      [this, wait, answer, contents](const std::vector<Supervisor::Outcome>& outcomes) {
        for (const Supervisor::Outcome& outcome : outcomes) {
          const auto now = contents.find(outcome.process);
          const bool loaded = now != contents.end() && contents_.contains(outcome.process);
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
