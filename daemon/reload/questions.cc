// What else is asked of a Reload: what it would do, and one process alone.
#include <algorithm>
#include <utility>

#include "daemon/reload/reload.h"

#include <lastcall/base/spelling.h>

namespace lastcall {

void Reload::BeginDryRun(ReloadDone done) {
  if (const auto serving = parts_.supervisor.CheckServing(); !serving) {
    return done(tl::unexpected(serving.error()));
  }
  if (const auto stays = CheckStays(); !stays) return done(tl::unexpected(stays.error()));
  parts_.readings.BeginLook(
      parts_.running.config.ready,
      [this, done = std::move(done)](const Result<Readings::AnotherBuild>& another) {
        if (!another && another.error().code != Code::kNotFound) {
          return done(tl::unexpected(another.error()));
        }
        TryCandidate(another && *another, done);
      });
}

void Reload::TryCandidate(bool another_build, const ReloadDone& done) {
  BeginPrepare([this, another_build, done](Result<Candidate> candidate) {
    if (!candidate) return done(tl::unexpected(candidate.error()));
    owner_.BeforeBind();
    const auto fine = parts_.binder.Probe(candidate->setup.config, parts_.running.sockets);
    if (!fine) {
      Discard(std::move(*candidate));
      return done(Fail(Code::kInvalidArgument, fine.error().message));
    }
    ReloadReport report{.another_build = another_build, .changes = candidate->changes.list};
    BeginPreflight(
        *candidate, [report = std::move(report), done](Result<PreflightReport> preflight) {
          if (!preflight) return done(tl::unexpected(preflight.error()));
          if (!preflight->problems.empty())
            return done(tl::unexpected(AsError(preflight->problems)));
          if (preflight->failures.empty()) return done(report);
          done(Fail(Code::kInternal, "plugins could not be tried: " + preflight->failures.front()));
        });
    Discard(std::move(*candidate));
  });
}

// Whether it can begin now.
Result<> Reload::CheckRestart(const std::string& process) const {
  std::vector<std::string> names;
  for (const ProcessConfig& one : parts_.running.config.processes) names.push_back(one.name);
  if (std::find(names.begin(), names.end(), process) == names.end()) {
    return Fail(Code::kNotFound, "no process \"" + process + "\"; " + SpellingHint(process, names));
  }
  if (attempt_ && attempt_->handover != Handover::kNone) return tl::unexpected(BeingReplaced());
  return CheckStays();
}

// What is in the files is read first: what comes there later is a change that a reload must find.
void Reload::BeginRestart(const std::string& process, bool wait, const Cause& by, ReloadDone done) {
  if (const auto can = CheckRestart(process); !can) return done(tl::unexpected(can.error()));
  parts_.readings.BeginFingerprints(
      parts_.running.config,
      [this, process, wait, by, done = std::move(done)](const Result<Fingerprints>& fingerprints) {
        if (!fingerprints && fingerprints.error().code == Code::kFailedPrecondition) {
          return done(tl::unexpected(fingerprints.error()));
        }
        // Where it is not known it is restarted all the same: the next reload finds out what there
        // is.
        Restart(process, wait, by, fingerprints.value_or(Fingerprints()), done);
      });
}

void Reload::Restart(const std::string& process, bool wait, const Cause& by,
                     const Fingerprints& fingerprints, const ReloadDone& done) {
  if (const auto can = CheckRestart(process); !can) return done(tl::unexpected(can.error()));
  // As it is when its turn comes: a reload in progress knows better what is in the files.
  const Fingerprints known = attempt_ ? Fingerprints() : fingerprints;
  const auto begun = parts_.supervisor.BeginChanges(
      {{Supervisor::Change::Kind::kReplace, {.name = process}}}, by,
      [this, wait, done, known](const std::vector<Supervisor::Outcome>& outcomes) {
        Fingerprints& running = parts_.running.fingerprints;
        for (const Supervisor::Outcome& outcome : outcomes) {
          const auto now = known.find(outcome.process);
          const bool loaded = now != known.end() && running.contains(outcome.process);
          if (loaded && outcome.failure.empty()) running[outcome.process] = now->second;
        }
        if (wait) done(ReloadReport{.processes = outcomes});
      });
  if (!begun) return done(tl::unexpected(begun.error()));
  if (!wait) done(ReloadReport());
}

}  // namespace lastcall
