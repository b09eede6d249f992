// Files that nobody can change but root and one user: what a privileged program may load.
//
//   const Trust trust = Trust::OfThisProcess();
//   auto key = trust.Find("/etc/lastcall/public.key");
//   if (!key) return tl::unexpected(key.error().error);
//   Result<UniqueFd> fd = key->Open();    // the very file that was looked at
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include <lastcall/base/result.h>
#include <lastcall/base/unique_fd.h>

namespace lastcall {

// What is wrong with one file, directory or link on the way.
struct Flaw {
  std::string path;      // made safe
  std::string what;      // "belongs to alice (uid 1000)", "may be written by everybody (mode 0777)"
  std::string remedy;    // a command: "chmod go-w /opt/shop"
  bool by_mode = false;  // its mode lets others write, which kTrustVariable can excuse
  bool read_only = false;  // the mount, so that the command is for where it is mounted from
};

// "/opt/shop may be written by everybody (mode 0777): run \"chmod go-w /opt/shop\"", joined by
// "; ". Where there are modes among them, last what excuses these.
std::string Describe(const std::vector<Flaw>& flaws);
// "run \"chmod go-w /opt/shop\"".
std::string DescribeRemedy(const Flaw& flaw);

// The environment variable with which an administrator says of directories (and of all below them)
// that no one else can get there, whatever their modes: absolute paths with ":" between them. In
// the environment it reaches the hosts and each next build of the daemon without being passed on.
inline constexpr char kTrustVariable[] = "LASTCALL_TRUST";

// Why a file cannot be had. Without flaws it is missing, or this user may not look.
struct Distrust {
  Error error;  // kFailedPrecondition with flaws; kNotFound, kPermissionDenied, kInvalidArgument
                // without, where the message is the path as it was given, ": ", and why
  std::vector<Flaw> flaws;
};

// A file that was found trustworthy, held by descriptor: whatever happens to its name, this is it.
class TrustedFile {
 public:
  TrustedFile(UniqueFd directory, std::string name, UniqueFd file, std::string path)
      : directory_(std::move(directory)),
        name_(std::move(name)),
        file_(std::move(file)),
        path_(std::move(path)) {}

  // Without links.
  const std::string& path() const { return path_; }
  // Of the file; no right to read it comes with that.
  int fd() const { return file_.get(); }
  // For reading. Fails: as OpenRegular, with path().
  Result<UniqueFd> Open() const;
  // A path by the directory that was looked at, for those who take nothing but paths. Valid while this
  // lives. The name in it is looked up again, but no other user can change it there.
  std::string Reach() const;

 private:
  UniqueFd directory_;
  std::string name_;
  UniqueFd file_;
  std::string path_;
};

// The rule: the file, each directory above it and each symbolic link on the way belong to root or to
// `user`, and file and directories are writable by nobody else. A directory of root with the sticky bit
// may be everybody's (/tmp), for what is ours in it cannot be replaced by others. Access control
// lists show in a file's mode, and need no look of their own.
//
// What a mode lets others do is not counted where they cannot: for what is root's on a mount that
// is read-only (Kubernetes makes ConfigMaps 0777 and mounts them so), and at and below the
// directories that are given as closed to others. To whom something belongs always counts.
//
// The way is walked once, from descriptor to descriptor, so nobody can change it behind our back.
// What remains: root and the user themselves, whoever has a file open for writing since before it
// was made safe, and the libraries that the file asks for, which the dynamic loader finds by
// itself.
//
// Blocks: reads directories. Threads: any.
class Trust {
 public:
  // `closed`: directories (or files), see above; one that is not there is of no use.
  explicit Trust(uid_t user, std::vector<std::string> closed = {})
      : user_(user), closed_(std::move(closed)) {}
  // With the process's effective user and kTrustVariable.
  static Trust OfThisProcess();

  // A regular file: nothing else can be read, loaded or executed without waiting for somebody.
  tl::expected<TrustedFile, Distrust> Find(const std::string& path) const;
  // A directory whose entries are to be read: here the sticky bit does not help, for others could add
  // some.
  tl::expected<TrustedFile, Distrust> FindDirectory(const std::string& path) const;

 private:
  const uid_t user_;
  const std::vector<std::string> closed_;
};

// What of kTrustVariable is no absolute path, and so names nothing.
std::vector<std::string> RelativeInTrustVariable();

}  // namespace lastcall
