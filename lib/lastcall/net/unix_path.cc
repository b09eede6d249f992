#include "lastcall/net/unix_path.h"

#include <fcntl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>

#include "lastcall/base/group.h"
#include "lastcall/net/port_holder.h"

namespace lastcall {
namespace {

bool IsMember(gid_t group) {
  std::vector<gid_t> groups(static_cast<size_t>(std::max(0, getgroups(0, nullptr))));
  groups.resize(
      static_cast<size_t>(std::max(0, getgroups(static_cast<int>(groups.size()), groups.data()))));
  return group == getegid() || std::find(groups.begin(), groups.end(), group) != groups.end();
}

class PathBinder {
 public:
  explicit PathBinder(const Address& address)
      : address_(address),
        directory_(address.path.substr(0, std::max<size_t>(address.path.rfind('/'), 1))),
        name_(address.path.substr(address.path.rfind('/') + 1)) {}
  ~PathBinder() {
    if (!temporary_.empty()) unlinkat(directory_fd_.get(), temporary_.c_str(), 0);
  }

  Result<PathSocket> Run() {
    if (auto fine = FindGroup(); !fine) return tl::unexpected(fine.error());
    if (auto fine = OpenDirectory(); !fine) return tl::unexpected(fine.error());
    if (auto fine = CheckVacant(); !fine) return tl::unexpected(fine.error());
    if (auto fine = BindTemporary(); !fine) return tl::unexpected(fine.error());
    if (auto fine = ApplyRights(temporary_); !fine) return tl::unexpected(fine.error());
    return Publish();
  }
  Result<> Probe() {
    if (auto fine = FindGroup(); !fine) return fine;
    if (auto fine = OpenDirectory(); !fine) return fine;
    return CheckVacant();
  }
  Result<> ProbeRights() {
    if (auto fine = FindGroup(); !fine) return fine;
    return !group_ || geteuid() == 0 || IsMember(*group_) ? Result<>() : RefuseGroup();
  }
  Result<> SetRights(dev_t device, ino_t inode) {
    if (auto fine = FindGroup(); !fine) return fine;
    if (auto fine = OpenDirectory(); !fine) return fine;
    struct stat there {};
    if (fstatat(directory_fd_.get(), name_.c_str(), &there, AT_SYMLINK_NOFOLLOW) != 0 ||
        there.st_dev != device || there.st_ino != inode) {
      return Refuse(Code::kFailedPrecondition,
                    "the path leads to another file now; remove that, or choose another path");
    }
    if (!group_) group_ = getegid();
    return ApplyRights(name_);
  }

 private:
  tl::unexpected<Error> Refuse(Code code, const std::string& why) const {
    return Fail(code, "cannot listen on " + address_.text + ": " + why);
  }
  tl::unexpected<Error> RefuseErrno(const std::string& what, int error) const {
    const bool denied = error == EACCES || error == EPERM;
    return Refuse(denied ? Code::kPermissionDenied : Code::kInternal,
                  what + ": " + ErrnoText(error));
  }

  tl::unexpected<Error> RefuseGroup() const;

  Result<> FindGroup();
  Result<> OpenDirectory();
  Result<> CheckVacant() const;
  Result<> CheckStale() const;
  Result<> BindTemporary();
  Result<> ApplyRights(const std::string& entry) const;
  Result<PathSocket> Publish();

  // A name for `entry` of the directory that fits into a sockaddr_un, however long the directory's is.
  std::string Reach(const std::string& entry) const;

  const Address& address_;
  const std::string directory_;
  const std::string name_;
  std::optional<gid_t> group_;
  UniqueFd directory_fd_;
  UniqueFd socket_;
  std::string temporary_;  // in the directory, while it is ours to remove
};

sockaddr_un NameOf(const std::string& path) {
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  std::memcpy(name.sun_path, path.data(), std::min(path.size(), kMaxUnixPath));
  return name;
}

UniqueFd MakeSocket() {
  return UniqueFd(socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
}

std::string RandomSuffix() {
  unsigned number = 0;
  static_cast<void>(getrandom(&number, sizeof(number), 0));
  std::array<char, 16> text;
  std::snprintf(text.data(), text.size(), ".%08x", number);
  return text.data();
}

tl::unexpected<Error> PathBinder::RefuseGroup() const {
  return Refuse(Code::kPermissionDenied, "this user may not give the socket to the group \"" +
                                             address_.group +
                                             "\"; make it a member of the group, or run as root");
}

Result<> PathBinder::FindGroup() {
  if (address_.group.empty()) return {};
  group_ = address_.group_id ? address_.group_id : GroupNamed(address_.group);
  if (group_ && *group_ != Address::kNoGroup) return {};
  return Refuse(Code::kInvalidArgument,
                "there is no group \"" + address_.group + "\"; create it, or correct \"?group=\"");
}

Result<> PathBinder::OpenDirectory() {
  directory_fd_.Reset(open(directory_.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (directory_fd_) return {};
  if (errno == ENOENT) {
    return Refuse(Code::kInvalidArgument,
                  "the directory " + directory_ + " does not exist; create it first");
  }
  if (errno == ENOTDIR) {
    return Refuse(Code::kInvalidArgument, directory_ + " is not a directory; choose another path");
  }
  return RefuseErrno("cannot open the directory " + directory_, errno);
}

Result<> PathBinder::CheckVacant() const {
  struct stat there {};
  if (fstatat(directory_fd_.get(), name_.c_str(), &there, AT_SYMLINK_NOFOLLOW) != 0) {
    return errno == ENOENT ? Result<>() : RefuseErrno("cannot look at " + address_.path, errno);
  }
  if (!S_ISSOCK(there.st_mode)) {
    return Refuse(Code::kAlreadyExists,
                  "a file that is not a socket is in the way; move it, or choose another path");
  }
  return CheckStale();
}

// connect(2) is the only test that cannot be wrong: the kernel refuses where nobody listens.
Result<> PathBinder::CheckStale() const {
  const UniqueFd probe = MakeSocket();
  if (!probe) return RefuseErrno("cannot make a socket", errno);
  const sockaddr_un name = NameOf(Reach(name_));
  const int error =
      connect(probe.get(), reinterpret_cast<const sockaddr*>(&name), sizeof(name)) == 0 ? 0 : errno;
  if (error == ECONNREFUSED || error == ENOENT) return {};
  if (error == EACCES || error == EPERM) {
    return Refuse(
        Code::kPermissionDenied,
        "a socket is there that this user may not connect to; remove it, or choose another "
        "path");
  }
  ucred holder{};
  socklen_t size = sizeof(holder);
  const bool known = error == 0 &&
                     getsockopt(probe.get(), SOL_SOCKET, SO_PEERCRED, &holder, &size) == 0 &&
                     holder.pid > 0;
  return Refuse(Code::kAlreadyExists, "the address is in use" +
                                          (known ? " by " + DescribeProcess(holder.pid) : "") +
                                          "; stop that process, or choose another path");
}

std::string PathBinder::Reach(const std::string& entry) const {
  std::string path = directory_ + (directory_.ends_with('/') ? "" : "/") + entry;
  if (path.size() <= kMaxUnixPath) return path;
  return "/proc/self/fd/" + std::to_string(directory_fd_.get()) + "/" + entry;
}

Result<> PathBinder::BindTemporary() {
  constexpr int kAttempts = 8;  // a random name is taken once in four thousand million times
  socket_ = MakeSocket();
  if (!socket_) return RefuseErrno("cannot make a socket", errno);
  int error = EADDRINUSE;
  for (int i = 0; i < kAttempts && error == EADDRINUSE; ++i) {
    const std::string entry = RandomSuffix();
    const sockaddr_un name = NameOf(Reach(entry));
    error = bind(socket_.get(), reinterpret_cast<const sockaddr*>(&name), sizeof(name)) == 0
                ? 0
                : errno;
    if (error == 0) temporary_ = entry;
  }
  if (error == 0) return {};
  if (error == EACCES || error == EPERM || error == EROFS) {
    return Refuse(Code::kPermissionDenied, "this user may not make files in " + directory_ + " (" +
                                               ErrnoText(error) +
                                               "); give it the right, or choose another directory");
  }
  return RefuseErrno("cannot make a socket in " + directory_, error);
}

Result<> PathBinder::ApplyRights(const std::string& entry) const {
  const int directory = directory_fd_.get();
  // The group first: a mode for the group must never be seen with another one.
  if (group_ && fchownat(directory, entry.c_str(), -1, *group_, AT_SYMLINK_NOFOLLOW) != 0) {
    return RefuseGroup();
  }
  if (fchmodat(directory, entry.c_str(), address_.mode, 0) != 0) {
    return RefuseErrno("cannot set the mode of the socket", errno);
  }
  return {};
}

Result<PathSocket> PathBinder::Publish() {
  if (listen(socket_.get(), kListenBacklog) != 0) return RefuseErrno("cannot listen", errno);
  struct stat made {};
  if (fstatat(directory_fd_.get(), temporary_.c_str(), &made, AT_SYMLINK_NOFOLLOW) != 0 ||
      renameat(directory_fd_.get(), temporary_.c_str(), directory_fd_.get(), name_.c_str()) != 0) {
    return RefuseErrno("cannot put the socket in its place", errno);
  }
  temporary_.clear();
  return PathSocket{std::move(socket_), made.st_dev, made.st_ino};
}

}  // namespace

Result<PathSocket> ListenOnPath(const Address& address) { return PathBinder(address).Run(); }

Result<> ProbePath(const Address& address) { return PathBinder(address).Probe(); }

Result<> ProbeRights(const Address& address) { return PathBinder(address).ProbeRights(); }

Result<> SetPathRights(const Address& address, dev_t device, ino_t inode) {
  return PathBinder(address).SetRights(device, inode);
}

}  // namespace lastcall
