#include "lastcall/base/runtime_dir.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

namespace lastcall {

std::vector<std::string> RuntimeDirs(const char* runtime, uid_t user) {
  const std::string number = std::to_string(user);
  std::vector<std::string> directories;
  if (runtime != nullptr && *runtime != '\0') {
    directories.push_back(std::string(runtime) + "/lastcall");
  }
  directories.push_back("/tmp/lastcall-" + number);
  const std::string usual = "/run/user/" + number + "/lastcall";  // of pam_systemd(8)
  if (std::find(directories.begin(), directories.end(), usual) == directories.end()) {
    directories.push_back(usual);
  }
  return directories;
}

bool IsOursAlone(const std::string& directory) {
  struct stat status {};
  return lstat(directory.c_str(), &status) == 0 && S_ISDIR(status.st_mode) &&
         status.st_uid == getuid() && (status.st_mode & 022) == 0;
}

std::string SocketInRuntimeDirs(const char* runtime, uid_t user) {
  for (const std::string& directory : RuntimeDirs(runtime, user)) {
    std::string path = directory + "/" + kAdminSocketName;
    if (IsOursAlone(directory) && access(path.c_str(), F_OK) == 0) return path;
  }
  return "";
}

}  // namespace lastcall
