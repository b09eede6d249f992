// The admin socket in the file system: whose it is, and whether it is still there.
#pragma once

#include <sys/types.h>

#include <string>

#include <lastcall/base/result.h>
#include <lastcall/base/unique_fd.h>
#include <lastcall/net/listener.h>

namespace lastcall {

// A lock on "PATH.lock", held for as long as this lives: two daemons that are started at the same
// instant are told apart by it, and one that was killed leaves none. Under the lock the socket
// appears by rename, when it listens already; one that is left behind is replaced, one that is
// alive is not.
//
// Anybody may connect: what they may do is decided by who they are (roles.h), so that a stranger
// hears which group it lacks instead of EACCES.
class AdminSocket {
 public:
  // Fails: kAlreadyExists (another daemon holds it, or something else is in the way),
  // kPermissionDenied, kInvalidArgument; with path and remedy.
  static Result<AdminSocket> Claim(const std::string& path);
  // Wraps one that an earlier life of this process claimed.
  AdminSocket(UniqueFd lock, Listener listener);
  AdminSocket(AdminSocket&& other) noexcept;
  AdminSocket& operator=(AdminSocket&&) = delete;
  // Closes the socket, then gives up the lock.
  ~AdminSocket();

  const std::string& path() const { return path_; }

  const Listener& listener() const { return listener_; }
  int lock() const { return lock_.get(); }
  // The socket for one who accepts, with a short queue; the path stays here. Again when Renew says
  // so. Fails: EMFILE.
  Result<Listener> Share() const;
  // Nobody can connect any more, and the path is gone.
  void Close() { listener_ = Listener(UniqueFd(), ""); }

  // Readable when something in its directory has changed.
  int changes() const { return inotify_.get(); }
  // Nothing is told any more. Order: some time before it is destroyed, see SocketWatch::End.
  void Unwatch();
  // Whether the path still leads to the socket, and the lock to ours. Takes some of what is to be
  // read: where others may write into the directory, it may never end.
  bool IsThere();
  // Makes again what is gone. True: there is a new socket to share. Fails: as Claim.
  Result<bool> Renew();

 private:
  explicit AdminSocket(std::string path) : path_(std::move(path)) {}

  std::string LockPath() const { return path_ + ".lock"; }
  Result<> Lock();
  Result<> Bind();
  void WatchDirectory();
  bool Leads(const std::string& path, dev_t device, ino_t inode) const;

  const std::string path_;
  UniqueFd lock_;
  UniqueFd inotify_;
  int watch_ = -1;
  Listener listener_{UniqueFd(), ""};
};

}  // namespace lastcall
