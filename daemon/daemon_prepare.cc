// What the daemon reads and tries before it changes anything: beside the loop, for it may take its
// time or hang, and judged in the loop.
#include <utility>

#include "daemon/daemon.h"
#include "daemon/setup/openssl_thread.h"

namespace lastcall {

// Why nothing is begun any more that could take its time; empty: it may.
std::optional<Error> Daemon::OnTheWayOut() const {
  if (IsStopping(supervisor_->stage())) {
    return Error{Code::kFailedPrecondition, "a shutdown is under way"};
  }
  if (handover_ && handover_->reload != 0) {
    return Error{Code::kFailedPrecondition,
                 "lastcalld is being replaced by another build; ask again in a moment"};
  }
  return std::nullopt;
}

// Beside the loop, for as long as a new incarnation may take to become ready. `step`: what is read.
template <class T>
void Daemon::BeginReading(std::shared_ptr<Step> step, std::function<T()> read,
                          std::function<void(Result<T>)> done) {
  if (const auto error = OnTheWayOut()) return done(tl::unexpected(*error));
  reading_.Begin<T>(
      After(clock_.Now(), config_.ready),
      [read = std::move(read)](const std::stop_token&) {
        const OpenSslThread state;
        return read();
      },
      [this, step, limit = config_.ready, done = std::move(done)](Result<T> result) {
        const bool late = !result && result.error().code == Code::kDeadlineExceeded;
        if (!late) return done(std::move(result));
        const std::string what =
            step->what() + " has not returned after " + FormatDuration(limit) + " ([reload] ready)";
        Say(LogLevel::kWarning, what + "; it is abandoned, and its thread waits on (" +
                                    std::to_string(reading_.abandoned()) + " of " +
                                    std::to_string(kReaders) + " do)");
        done(Fail(Code::kAborted,
                  what + "; repair the file system, or the directory of groups, that does not "
                         "answer, and try again"));
      });
}

void Daemon::BeginLook(std::function<void(Result<AnotherBuild>)> done) {
  const auto step = std::make_shared<Step>();
  step->Set("reading " + self_.program);
  BeginReading<Result<AnotherBuild>>(
      step, [program = self_.program] { return OpenAnotherBuild(program); },
      [done = std::move(done)](Result<Result<AnotherBuild>> another) {
        done(another ? std::move(*another) : tl::unexpected(another.error()));
      });
}

// Reads beside the loop, and compares here; nothing changes.
void Daemon::BeginPrepare(std::function<void(Result<Candidate>)> done) {
  std::function<Checked<Config>()> load = [file = config_.file] { return LoadConfig(file); };
  // --plugin: its files may have changed all the same.
  if (config_.file.empty()) load = [config = config_]() -> Checked<Config> { return config; };
  const auto step = std::make_shared<Step>();
  step->Set("reading the configuration");  // also where no thread has begun to
  BeginReading<Prepared>(
      step,
      [load = std::move(load), host = host_program_, now = clock_.Wall(), step] {
        return Prepare(load, host, now, *step);
      },
      [this, done = std::move(done)](Result<Prepared> prepared) {
        done(prepared ? Judge(std::move(*prepared)) : tl::unexpected(prepared.error()));
      });
}

Result<Daemon::Candidate> Daemon::Judge(Prepared prepared) const {
  if (prepared.loaded) {
    for (ConfigProblem& one : OutOfReach(config_, prepared.config)) {
      prepared.problems.push_back(std::move(one));
    }
  }
  if (!prepared.problems.empty()) return tl::unexpected(AsError(prepared.problems));
  Candidate candidate{.prepared = std::move(prepared), .changes = {}, .names = {}, .sockets = {}};
  candidate.changes =
      Compare(config_, contents_, candidate.prepared.config, candidate.prepared.contents);
  return candidate;
}

void Daemon::BeginContents(std::function<void(Result<Contents>)> done) {
  const auto step = std::make_shared<Step>();
  step->Set("reading the programs and plugins");
  BeginReading<Contents>(
      step, [config = config_, host = host_program_] { return ContentsOf(config, host); },
      std::move(done));
}

// A name that is not known in time is no reason to wait for the others: where it is needed is
// decided when the sockets are bound.
void Daemon::BeginNames(std::set<std::string> hosts, std::function<void(const HostNames&)> done) {
  if (hosts.empty()) return done({});
  if (const auto error = OnTheWayOut()) return RefuseReload(*error);
  const Duration limit = attempt_->candidate->prepared.config.ready;
  reading_.Begin<HostNames>(
      After(clock_.Now(), limit), [hosts](const std::stop_token&) { return LookUp(hosts); },
      [this, hosts, limit, done = std::move(done)](const Result<HostNames>& names) {
        if (names) return done(*names);
        if (names.error().code == Code::kFailedPrecondition) return RefuseReload(names.error());
        done(NotLookedUp(hosts, names.error().code != Code::kDeadlineExceeded
                                    ? names.error().message
                                    : "the name has not been looked up after " +
                                          FormatDuration(limit) +
                                          " ([reload] ready); write the address itself"));
      });
}

// Plugins of the processes that are to start may not live through it: they are tried elsewhere.
void Daemon::BeginTrial(const Candidate& candidate,
                        std::function<void(const Result<TrialResult>&)> done) {
  if (const auto error = OnTheWayOut()) return done(tl::unexpected(*error));
  std::vector<std::string> processes = candidate.changes.added;
  processes.insert(processes.end(), candidate.changes.replaced.begin(),
                   candidate.changes.replaced.end());
  const Config& config = candidate.prepared.config;
  trials_.Begin<TrialResult>(
      After(clock_.Now(), LongestTrial(config)),
      [config, processes, host = host_program_](const std::stop_token& stop) {
        return TryPlugins(config, processes, host, stop);
      },
      [this, done = std::move(done)](Result<TrialResult> trial) {
        if (!trial && trial.error().code == Code::kFailedPrecondition) return done(trial);
        if (!trial) {
          // They could not be tried, whatever they are.
          trial = TrialResult{.problems = {},
                              .warnings = {},
                              .failures = {host_program_ + " --try: " + trial.error().message}};
        }
        for (const std::string& warning : trial->warnings) Say(LogLevel::kWarning, warning);
        done(trial);
      });
}

}  // namespace lastcall
