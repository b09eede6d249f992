#include "daemon/environment_check.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include <lastcall/base/descriptors.h>
#include <lastcall/base/runtime_dir.h>

namespace lastcall {
namespace {

// The loop, signals, the log, the admin server and its gRPC, and a few that come and go (measured:
// 38).
constexpr size_t kOfDaemon = 56;
// Channel, pidfd, and as many for a successor and for the child that tries its plugins.
constexpr size_t kOfProcess = 8;

}  // namespace

Result<> CheckProc(const std::string& proc) {
  if (access((proc + "/self/fd").c_str(), X_OK) == 0) return {};
  return FailErrno("cannot look into " + proc +
                       ", by which files are opened; mount it (\"mount -t proc proc /proc\")",
                   errno);
}

Result<> CheckDescriptorsFor(const Config& config) {
  size_t needed = kOfDaemon + config.processes.size() * kOfProcess;
  for (const ServerConfig& server : config.servers) needed += server.listen.size();
  return CheckDescriptors(static_cast<int>(needed));
}

Result<std::string> MakeRuntimeDir(const char* runtime, uid_t user) {
  const bool given = runtime != nullptr && *runtime != '\0';
  const std::string path = RuntimeDirs(runtime, user).front();
  const std::string remedy = given ? "; set XDG_RUNTIME_DIR to a directory of yours, or unset it"
                                   : "; remove it, or set XDG_RUNTIME_DIR to a directory of yours";
  if (mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) {
    return Fail(Code::kInternal,
                path + ", for the admin socket, cannot be made: " + ErrnoText(errno) + remedy);
  }
  if (IsOursAlone(path)) return path;
  return Fail(Code::kInternal,
              path + ", for the admin socket, is not a directory of ours alone" + remedy);
}

}  // namespace lastcall
