// lastcalld: reads its options and configuration, binds, supervises, and returns the exit code of the
// contract.
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <iostream>

#include "daemon/config/check.h"
#include "daemon/config/config.h"
#include "daemon/daemon.h"
#include "daemon/environment_check.h"
#include "daemon/options.h"
#include "daemon/orphans.h"
#include "daemon/preliminaries.h"
#include "daemon/receipt_file.h"
#include "daemon/reload/preflight.h"
#include "daemon/setup/openssl_thread.h"
#include "daemon/setup/preparation.h"
#include "daemon/task_limit.h"
#include "wire/convert.h"
#include "wire/grpc_log.h"
#include "wire/logging.h"

#include <lastcall/base/exit_code.h>
#include <lastcall/base/safe_text.h>
#include <lastcall/child/own_program.h>
#include <lastcall/signals/signals.h>

namespace lastcall {
namespace {

// How long a start that was told to stop may take to read what it was about to; told again, none.
constexpr std::chrono::seconds kStartPatience{3};
// How long the children that try plugins may take to end.
constexpr std::chrono::seconds kPreflightsEnd{1};

// Connections are descriptors; the soft limit is a default for programs that use select(2).
void RaiseDescriptorLimit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

// Beside lastcalld in a build tree, in libexec where it is installed.
std::string HostProgram() {
  const std::filesystem::path self = OwnProgram();
  const auto beside = self.parent_path() / "lastcall-host";
  if (access(beside.c_str(), X_OK) == 0) return beside;
  return self.parent_path().parent_path() / "libexec/lastcall/lastcall-host";
}

// A pipe is read where it is one of this process's own descriptors: whoever started it has put it
// there.
Checked<Config> LoadFile(const std::string& file) {
  const auto pipe = PipeNamed(file);
  return pipe ? LoadConfigFromPipe(*pipe, file) : LoadConfig(file);
}

Checked<Config> Load(const Options& options) {
  if (options.plugins.empty()) return LoadFile(options.config);
  const auto runtime = MakeRuntimeDir(std::getenv("XDG_RUNTIME_DIR"), getuid());
  if (!runtime) return tl::unexpected(std::vector{ConfigProblem{{}, runtime.error().message}});
  return DevelopmentConfig(options.plugins, options.listen, *runtime);
}

// What is read before anything starts; in a thread beside the one that hears signals.
Prepared PrepareStart(const Options& options) {
  Step step;
  Prepared prepared =
      Prepare([&options] { return Load(options); }, HostProgram(), SteadyClock().Wall(), step);
  if (!prepared.problems.empty()) return prepared;
  std::string tasks = TaskWarning(prepared.config, FindTaskLimit());
  if (!tasks.empty()) prepared.warnings.push_back(std::move(tasks));
  if (options.check) return prepared;
  std::string warning = ReceiptWarning(prepared.config.state_dir);
  if (!warning.empty()) prepared.warnings.push_back(std::move(warning));
  return prepared;
}

// Takes the place of the build that ran in this process; see daemon/handover/reexec.h. `check`: only finds out
// whether that would do, in a child of it.
int Resume(const Options& options, ProgramImage image, const Taken& taken, bool check) {
  const state::v1::State& state = taken.state;
  prctl(PR_SET_NAME, "lastcalld");  // it was executed by the number of a descriptor
  auto setup = SetupIn(state);
  if (!setup) {
    std::cerr << setup.error().message << "\n";
    return kExitInternal;
  }
  Logger logger("lastcalld", FromProto(state.log_level()));
  const GrpcLog grpc_log(logger.log());
  Daemon daemon(std::move(*setup), std::move(image), HostProgram(), logger);
  daemon.Resume(state);
  if (!check) return daemon.Run();
  const auto problems = PrepareStart(options).problems;
  std::cerr << Format(problems) << std::flush;
  logger.queue().Flush();
  if (problems.empty() && state.has_proof()) {
    static_cast<void>(write(state.proof().fd(), taken.proof.data(), taken.proof.size()));
  }
  // What it took over is not its own: nothing is closed, removed or ended.
  _exit(problems.empty() ? 0 : kExitBadConfiguration);
}

// What is left to know once everything was read: whether the plugins can be loaded, and what they say.
int Summarize(const Prepared& prepared, const PreflightReport& preflight) {
  for (const std::string& warning : prepared.warnings) std::cerr << "warning: " << warning << "\n";
  for (const std::string& warning : preflight.warnings) std::cerr << "warning: " << warning << "\n";
  for (const std::string& failure : preflight.failures) {
    std::cerr << "lastcalld: plugins could not be tried: " << failure << "\n";
  }
  std::cerr << Format(preflight.problems);
  if (!preflight.problems.empty()) return kExitBadConfiguration;
  if (!preflight.failures.empty()) return kExitInternal;
  std::cout << Summary(prepared.config);
  return 0;
}

int Check(Preliminaries& preliminaries, const Prepared& prepared) {
  const auto preflight =
      preliminaries.Await<PreflightReport>([config = prepared.config](const std::stop_token& stop) {
        std::vector<std::string> processes;
        for (const ProcessConfig& process : config.processes) processes.push_back(process.name);
        return TryPlugins(config, processes, HostProgram(), stop);
      });
  if (!preflight) {
    preliminaries.AwaitItsEnd(kPreflightsEnd);
    preliminaries.EndByItsSignal();
  }
  return Summarize(prepared, *preflight);
}

// False: said why not.
bool HasDescriptorsFor(const Config& config) {
  const auto enough = CheckDescriptorsFor(config);
  if (!enough) std::cerr << "lastcalld: " << enough.error().message << "\n";
  return enough.has_value();
}

int Start(const Options& options, ProgramImage image) {
  if (!HasDescriptorsFor({})) return kExitInternal;  // to get as far as the configuration
  std::optional<Preliminaries> preliminaries(std::in_place,
                                             options.check ? Duration::zero() : kStartPatience);
  auto prepared = preliminaries->Await<Prepared>([options](const std::stop_token&) {
    const OpenSslThread state;
    return PrepareStart(options);
  });
  if (!prepared && options.check) preliminaries->EndByItsSignal();
  if (!prepared) preliminaries->Stop();
  if (!prepared->problems.empty()) {
    std::cerr << Format(prepared->problems);
    return kExitBadConfiguration;
  }
  if (!HasDescriptorsFor(prepared->config)) return kExitInternal;
  if (options.check) return Check(*preliminaries, *prepared);
  const auto names =
      preliminaries->Await<HostNames>([hosts = SocketBinder::Unknown(prepared->config, {})](
                                          const std::stop_token&) { return LookUp(hosts); });
  if (!names) preliminaries->Stop();
  const std::vector<std::string> warnings = std::move(prepared->warnings);
  preliminaries.reset();  // what it has heard, and what comes now, waits for the daemon
  Logger logger("lastcalld", LogLevelNamed(prepared->config.log_level).value_or(LogLevel::kInfo));
  const GrpcLog grpc_log(logger.log());
  Daemon daemon(SetupOf(std::move(*prepared)), std::move(image), HostProgram(), logger);
  if (const auto bound = daemon.Bind(*names); !bound) {
    logger.log()(LogLevel::kError, bound.error().message);
    return kExitCannotBind;
  }
  for (const std::string& warning : warnings) logger.log()(LogLevel::kWarning, warning);
  return daemon.Run();
}

int Main(int argc, char** argv) {
  ProgramImage image{OwnProgram(), {argv, argv + argc}};
  const bool check = image.arguments.back() == kResumeCheck;
  if (check) --argc;
  const auto options = Parse(argc, argv);
  if (!options) {
    std::cerr << "lastcalld: " << SafeText(options.error()) << "\n";
    return kExitBadCommandLine;
  }
  if (options->help || options->version) {
    std::cout << options->text;
    return 0;
  }
  if (const auto proc = CheckProc(); !proc) {
    std::cerr << "lastcalld: " << proc.error().message << "\n";
    return kExitInternal;
  }
  const auto state = TakeState();
  if (!state) {
    std::cerr << "lastcalld: " << state.error().message << "\n";
    return kExitInternal;
  }
  if (*state) return Resume(*options, std::move(image), **state, check);
  if (check) {
    std::cerr << "lastcalld: " << kResumeCheck
              << " is for lastcalld itself, in a reload; leave it out\n";
    return kExitBadCommandLine;
  }
  return Start(*options, std::move(image));
}

}  // namespace
}  // namespace lastcall

int main(int argc, char** argv) {
  lastcall::BlockSignals();
  lastcall::OrphanReaper::PrepareSignal();
  lastcall::RaiseDescriptorLimit();
  try {
    return lastcall::Main(argc, argv);
  } catch (const std::exception& error) {
    std::cerr << "lastcalld: internal error: " << lastcall::SafeText(error.what()) << "\n";
    return lastcall::kExitInternal;
  }
}
