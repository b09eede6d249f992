#include "daemon/admin/socket.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <utility>

#include <lastcall/net/port_holder.h>

namespace lastcall {
namespace {

constexpr int kAttempts = 100;

// Connections that wait in the socket's queue; whoever connects beyond them waits in connect(2), or
// is told EAGAIN. Anybody may connect, and whoever does so in a loop keeps the queue full: then it
// is as long as everybody else has to wait. It is emptied in batches (Acceptor), which makes room
// for all who wait in connect.
constexpr int kBacklog = 512;

tl::unexpected<Error> Refuse(const std::string& lock, int error) {
  const bool missing = error == ENOENT || error == ENOTDIR;
  const std::string directory = lock.substr(0, lock.rfind('/'));
  const std::string remedy =
      missing ? "create the directory " + directory + " first, or choose another [admin] socket"
      : error == ELOOP ? "a link is in its place; remove it"
                       : "give the daemon's user the right to make files in " + directory +
                             ", or choose another [admin] socket";
  return Fail(missing                                               ? Code::kInvalidArgument
              : error == EACCES || error == EPERM || error == EROFS ? Code::kPermissionDenied
                                                                    : Code::kInternal,
              "cannot take the lock " + lock + ": " + ErrnoText(error) + "; " + remedy);
}

// Who wrote itself into the lock; it may be gone by now.
std::string HolderOf(int lock) {
  std::array<char, 32> text{};
  const ssize_t size = pread(lock, text.data(), text.size() - 1, 0);
  pid_t pid = 0;
  if (size > 0) std::from_chars(text.data(), text.data() + size, pid);
  return pid > 0 ? DescribeProcess(pid) : "another process";
}

}  // namespace

Result<AdminSocket> AdminSocket::Claim(const std::string& path) {
  AdminSocket socket(path);
  if (auto locked = socket.Lock(); !locked) return tl::unexpected(locked.error());
  if (auto bound = socket.Bind(); !bound) return tl::unexpected(bound.error());
  socket.WatchDirectory();
  return socket;
}

AdminSocket::AdminSocket(AdminSocket&& other) noexcept
    : path_(other.path_),
      lock_(std::move(other.lock_)),
      inotify_(std::move(other.inotify_)),
      watch_(std::exchange(other.watch_, -1)),
      listener_(std::move(other.listener_)) {}

AdminSocket::AdminSocket(UniqueFd lock, Listener listener)
    : path_(listener.path().name), lock_(std::move(lock)), listener_(std::move(listener)) {
  WatchDirectory();
}

AdminSocket::~AdminSocket() {
  Close();
  struct stat ours {};
  // While it is held: whoever waits for it sees that its path is gone, and makes it anew.
  if (lock_ && fstat(lock_.get(), &ours) == 0 && Leads(LockPath(), ours.st_dev, ours.st_ino)) {
    unlink(LockPath().c_str());
  }
}

Result<> AdminSocket::Lock() {
  const std::string path = LockPath();
  for (int i = 0; i < kAttempts; ++i) {
    UniqueFd lock(open(path.c_str(), O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600));
    if (!lock) return Refuse(path, errno);
    if (flock(lock.get(), LOCK_EX | LOCK_NB) != 0) {
      if (errno != EWOULDBLOCK) return Refuse(path, errno);
      return Fail(Code::kAlreadyExists,
                  path_ + " is held by " + HolderOf(lock.get()) +
                      ": another lastcalld is running with this configuration; stop that one, or "
                      "give this one another [admin] socket");
    }
    // Somebody who was ending may have removed it between the two calls.
    struct stat ours {};
    if (fstat(lock.get(), &ours) != 0 || !Leads(path, ours.st_dev, ours.st_ino)) continue;
    const std::string pid = std::to_string(getpid()) + "\n";
    // For people and for messages; the lock itself is the kernel's.
    if (ftruncate(lock.get(), 0) == 0) (void)!pwrite(lock.get(), pid.data(), pid.size(), 0);
    lock_ = std::move(lock);
    return {};
  }
  return Fail(Code::kAlreadyExists,
              "the lock " + path + " does not stay; does something remove it?");
}

Result<> AdminSocket::Bind() {
  Address address;
  address.kind = Address::Kind::kUnix;
  address.path = path_;
  address.mode = 0666;
  address.text = "unix:" + path_;
  auto listener = Listener::Bind(address);
  if (!listener) return tl::unexpected(listener.error());
  listener_ = std::move(*listener);
  return {};
}

Result<Listener> AdminSocket::Share() const {
  // Not where it is made, for one that a life before has made is no other.
  listen(listener_.fd(), kBacklog);
  UniqueFd copy(fcntl(listener_.fd(), F_DUPFD_CLOEXEC, 0));
  if (!copy) return FailErrno("cannot use the admin socket", errno);
  return Listener(std::move(copy), listener_.address());
}

// Without inotify nothing is noticed, and nothing else is lost.
void AdminSocket::WatchDirectory() {
  if (!inotify_) inotify_.Reset(inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
  const std::string directory = path_.substr(0, std::max<size_t>(path_.rfind('/'), 1));
  if (inotify_) {
    watch_ = inotify_add_watch(inotify_.get(), directory.c_str(),
                               IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_CREATE |
                                   IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR);
  }
}

void AdminSocket::Unwatch() {
  if (watch_ >= 0) inotify_rm_watch(inotify_.get(), std::exchange(watch_, -1));
}

bool AdminSocket::Leads(const std::string& path, dev_t device, ino_t inode) const {
  struct stat now {};
  return lstat(path.c_str(), &now) == 0 && now.st_dev == device && now.st_ino == inode;
}

bool AdminSocket::IsThere() {
  std::array<char, 16 << 10> events;
  if (inotify_) (void)!read(inotify_.get(), events.data(), events.size());
  struct stat ours {};
  return Leads(path_, listener_.path().device, listener_.path().inode) &&
         fstat(lock_.get(), &ours) == 0 && Leads(LockPath(), ours.st_dev, ours.st_ino);
}

Result<bool> AdminSocket::Renew() {
  struct stat ours {};
  if (fstat(lock_.get(), &ours) != 0 || !Leads(LockPath(), ours.st_dev, ours.st_ino)) {
    if (auto locked = Lock(); !locked) return tl::unexpected(locked.error());
  }
  WatchDirectory();  // it may be another one
  if (Leads(path_, listener_.path().device, listener_.path().inode)) return false;
  if (auto bound = Bind(); !bound) return tl::unexpected(bound.error());
  return true;
}

}  // namespace lastcall
