// lastcalld: reads its options and configuration, binds, supervises, and returns the exit code of the
// contract.
#include <sys/resource.h>
#include <unistd.h>

#include <climits>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <map>

#include "daemon/check.h"
#include "daemon/config.h"
#include "daemon/convert.h"
#include "daemon/daemon.h"
#include "daemon/logging.h"
#include "daemon/options.h"

#include <lastcall/signals/signals.h>

namespace lastcall {
namespace {

constexpr int kUsage = 64;
constexpr int kCannotBind = 69;
constexpr int kInternal = 70;
constexpr int kBadConfiguration = 78;

// Connections are descriptors; the soft limit is a default for programs that use select(2).
void RaiseDescriptorLimit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

// Where lastcalld --plugin keeps its admin socket, and where lastcallctl looks first.
std::string RuntimeDir() {
  const char* runtime = std::getenv("XDG_RUNTIME_DIR");
  const std::string base = runtime != nullptr && *runtime != '\0'
                               ? std::string(runtime)
                               : "/tmp/lastcall-" + std::to_string(getuid());
  return base + "/lastcall";
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
  const std::string runtime = RuntimeDir();
  std::error_code ignored;
  std::filesystem::create_directories(runtime, ignored);
  return DevelopmentConfig(options.plugins, options.listen, runtime);
}

int Main(int argc, char** argv) {
  const auto options = Parse(argc, argv);
  if (!options) {
    std::cerr << "lastcalld: " << options.error() << "\n";
    return kUsage;
  }
  if (options->help || options->version) {
    std::cout << options->text;
    return 0;
  }
  auto config = Load(*options);
  if (!config) {
    std::cerr << Format(config.error());
    return kBadConfiguration;
  }
  if (const auto problems = CheckPlugins(*config); !problems.empty()) {
    std::cerr << Format(problems);
    return kBadConfiguration;
  }
  if (options->check) {
    std::cout << Summary(*config);
    return 0;
  }
  Logger logger("lastcalld", LogLevelNamed(config->log_level).value_or(LogLevel::kInfo));
  Daemon daemon(std::move(*config), HostProgram(), logger);
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
    std::cerr << "lastcalld: internal error: " << error.what() << "\n";
    return lastcall::kInternal;
  }
}
