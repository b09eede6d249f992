#include "lastcall/base/secret.h"

#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <vector>

#include <lastcall/base/safe_text.h>
#include <lastcall/base/trust_text.h>

namespace lastcall {
namespace {

bool IsOurs(gid_t group) {
  if (group == 0 || group == getegid()) return true;
  const int count = getgroups(0, nullptr);
  std::vector<gid_t> ours(static_cast<size_t>(std::max(count, 0)));
  if (getgroups(count, ours.data()) != count) return false;
  return std::find(ours.begin(), ours.end(), group) != ours.end();
}

// Whether a member of the group, or without one anybody, may go through each directory above `path`.
bool MayGetTo(const std::filesystem::path& path, const std::optional<gid_t>& group) {
  for (auto directory = path.parent_path();; directory = directory.parent_path()) {
    struct stat status {};
    if (stat(directory.c_str(), &status) != 0) return false;
    const mode_t needed = group && status.st_gid == *group ? S_IXGRP : S_IXOTH;
    if ((status.st_mode & needed) == 0) return false;
    if (directory == directory.root_path()) return true;
  }
}

bool IsReadOnly(const std::filesystem::path& path) {
  struct statvfs mount {};
  return statvfs(path.c_str(), &mount) == 0 && (mount.f_flag & ST_RDONLY) != 0;
}

std::string Remedy(const struct stat& status, const std::string& path) {
  const std::string file = ShellArgument(path);
  if (geteuid() == 0 || geteuid() == status.st_uid) {
    return (IsOurs(status.st_gid) ? "chmod o-r " : "chmod go-r ") + file;
  }
  // It is read by the right of those who are to lose it.
  const std::string mode = "chmod g+r,o-r " + file;
  if (IsOurs(status.st_gid)) return mode;
  return "chgrp " + GroupName(getegid()) + " " + file + " && " + mode;
}

}  // namespace

std::optional<Flaw> FindReaders(const std::string& path) {
  std::error_code error;
  const auto real = std::filesystem::canonical(path, error);
  struct stat status {};
  if (error || stat(real.c_str(), &status) != 0) return std::nullopt;
  const bool everybody = (status.st_mode & S_IROTH) != 0 && MayGetTo(real, std::nullopt);
  const bool group =
      (status.st_mode & S_IRGRP) != 0 && !IsOurs(status.st_gid) && MayGetTo(real, status.st_gid);
  if (!everybody && !group) return std::nullopt;
  return Flaw{SafeText(real),
              "may be read by " +
                  (everybody ? "everybody" : "the group " + GroupName(status.st_gid)) + " (" +
                  ModeText(status.st_mode) + ")",
              Remedy(status, real), false, IsReadOnly(real)};
}

}  // namespace lastcall
