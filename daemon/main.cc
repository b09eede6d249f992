// lastcalld: reads its options and configuration, binds, supervises, and returns the exit code of the
// contract.
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <iostream>

#include "daemon/check.h"
#include "daemon/config.h"
#include "daemon/config_roles.h"
#include "daemon/convert.h"
#include "daemon/daemon.h"
#include "daemon/grpc_log.h"
#include "daemon/logging.h"
#include "daemon/options.h"
#include "daemon/own_program.h"
#include "daemon/task_limit.h"
#include "daemon/trial.h"
#include "daemon/trust_check.h"

#include <lastcall/base/safe_text.h>
#include <lastcall/signals/signals.h>

namespace lastcall {
namespace {

constexpr int kUsage = 64;
constexpr int kCannotBind = 69;
constexpr int kInternal = 70;

// Connections are descriptors; the soft limit is a default for programs that use select(2).
void RaiseDescriptorLimit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

// Where lastcalld --plugin keeps its admin socket, and where lastcallctl looks first. Ours alone,
// also where the folder above it is everybody's.
Checked<std::string> MakeRuntimeDir() {
  const char* runtime = std::getenv("XDG_RUNTIME_DIR");
  const bool given = runtime != nullptr && *runtime != '\0';
  const std::string path =
      given ? std::string(runtime) + "/lastcall" : "/tmp/lastcall-" + std::to_string(getuid());
  mkdir(path.c_str(), 0700);
  struct stat status {};
  const bool ours = lstat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode) &&
                    status.st_uid == getuid() && (status.st_mode & 022) == 0;
  if (ours) return path;
  return tl::unexpected(std::vector<ConfigProblem>{
      {{}, path + " is no folder of ours alone, for the admin socket; remove it, or set "
                  "XDG_RUNTIME_DIR to a folder of yours"}});
}

// Beside lastcalld in a build tree, in libexec where it is installed.
std::string HostProgram() {
  const std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe");
  const auto beside = self.parent_path() / "lastcall-host";
  if (access(beside.c_str(), X_OK) == 0) return beside;
  return self.parent_path().parent_path() / "libexec/lastcall/lastcall-host";
}

Checked<Config> Load(const Options& options) {
  if (options.plugins.empty()) return LoadConfig(options.config);
  const auto runtime = MakeRuntimeDir();
  if (!runtime) return tl::unexpected(runtime.error());
  return DevelopmentConfig(options.plugins, options.listen, *runtime);
}

// What there is to know before the processes start. Empty: nothing is wrong.
std::vector<ConfigProblem> Check(Config& config) {
  auto problems = CheckTrust(config, HostProgram());
  for (ConfigProblem& problem : CheckPlugins(config)) problems.push_back(std::move(problem));
  for (ConfigProblem& problem : ReadCertificates(config)) problems.push_back(std::move(problem));
  return problems;
}

// Takes the place of the build that ran in this process; see daemon/reexec.h. `check`: only finds out
// whether that would do, in a child of it.
int Resume(const Options& options, Self self, const state::v1::State& state, bool check) {
  prctl(PR_SET_NAME, "lastcalld");  // it was executed by the number of a descriptor
  auto config = ConfigIn(state);
  if (!config) {
    std::cerr << config.error().message << "\n";
    return kCannotResume;
  }
  Logger logger("lastcalld", LogLevelNamed(state.log_level()).value_or(LogLevel::kInfo));
  const GrpcLog grpc_log(logger.log());
  Daemon daemon(std::move(*config), std::move(self), HostProgram(), logger);
  daemon.Resume(state);
  if (!check) return daemon.Run();
  auto afresh = Load(options);
  auto problems = afresh ? Check(*afresh) : afresh.error();
  std::cerr << Format(problems) << std::flush;
  logger.queue().Flush();
  // What it took over is not its own: nothing is closed, removed or ended.
  _exit(problems.empty() ? 0 : kBadConfiguration);
}

// What is left to know once everything was read: whether the plugins can be loaded, and what they say.
int TryAndSummarize(const Config& config) {
  UnblockSignals();  // a plugin may take its time, and Ctrl-C is to end it
  std::vector<std::string> processes;
  for (const ProcessConfig& process : config.processes) processes.push_back(process.name);
  const TrialResult trial = TryPlugins(config, processes, HostProgram());
  for (const std::string& warning : TlsWarnings(config, SteadyClock().Wall())) {
    std::cerr << "warning: " << warning << "\n";
  }
  for (const std::string& warning : GroupWarnings(config)) std::cerr << "warning: " << warning << "\n";
  if (const std::string warning = TaskWarning(config, FindTaskLimit()); !warning.empty()) {
    std::cerr << "warning: " << warning << "\n";
  }
  for (const std::string& warning : trial.warnings) std::cerr << "warning: " << warning << "\n";
  for (const std::string& failure : trial.failures) {
    std::cerr << "lastcalld: plugins could not be tried: " << failure << "\n";
  }
  std::cerr << Format(trial.problems);
  if (!trial.problems.empty()) return kBadConfiguration;
  if (!trial.failures.empty()) return kInternal;
  std::cout << Summary(config);
  return 0;
}

int Main(int argc, char** argv) {
  Self self{OwnProgram(), {argv, argv + argc}};
  const bool check = self.arguments.back() == kResumeCheck;
  if (check) --argc;
  const auto options = Parse(argc, argv);
  if (!options) {
    std::cerr << "lastcalld: " << SafeText(options.error()) << "\n";
    return kUsage;
  }
  if (options->help || options->version) {
    std::cout << options->text;
    return 0;
  }
  const auto state = TakeState();
  if (!state) {
    std::cerr << "lastcalld: " << state.error().message << "\n";
    return kCannotResume;
  }
  if (*state) return Resume(*options, std::move(self), **state, check);
  if (check) {
    std::cerr << "lastcalld: " << kResumeCheck << " is for lastcalld itself, in a reload; leave it out\n";
    return kUsage;
  }
  auto config = Load(*options);
  if (!config) {
    std::cerr << Format(config.error());
    return kBadConfiguration;
  }
  const auto problems = Check(*config);
  if (!problems.empty()) {
    std::cerr << Format(problems);
    return kBadConfiguration;
  }
  if (options->check) return TryAndSummarize(*config);
  Logger logger("lastcalld", LogLevelNamed(config->log_level).value_or(LogLevel::kInfo));
  const GrpcLog grpc_log(logger.log());
  Daemon daemon(std::move(*config), std::move(self), HostProgram(), logger);
  if (const auto bound = daemon.Bind(); !bound) {
    logger.log()(LogLevel::kError, bound.error().message);
    return kCannotBind;
  }
  return daemon.Run();
}

}  // namespace
}  // namespace lastcall

int main(int argc, char** argv) {
  lastcall::BlockSignals();
  lastcall::RaiseDescriptorLimit();
  try {
    return lastcall::Main(argc, argv);
  } catch (const std::exception& error) {
    std::cerr << "lastcalld: internal error: " << lastcall::SafeText(error.what()) << "\n";
    return lastcall::kInternal;
  }
}
