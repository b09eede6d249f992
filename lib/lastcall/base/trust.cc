#include "lastcall/base/trust.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <deque>
#include <string_view>
#include <utility>

#include <lastcall/base/regular_file.h>
#include <lastcall/base/safe_text.h>
#include <lastcall/base/trust_text.h>

namespace lastcall {
namespace {

// As many as the kernel follows, path_resolution(7).
constexpr int kMostLinks = 40;

// What a path may lead to by whatever name.
struct Identity {
  explicit Identity(const struct stat& status) : device(status.st_dev), inode(status.st_ino) {}
  bool operator==(const Identity&) const = default;

  dev_t device;
  ino_t inode;
};

std::vector<Identity> IdentitiesOf(const std::vector<std::string>& paths) {
  std::vector<Identity> identities;
  for (const std::string& path : paths) {
    struct stat status {};
    if (stat(path.c_str(), &status) == 0) identities.emplace_back(status);
  }
  return identities;
}

std::vector<std::string> SplitTrustVariable() {
  const char* const given = std::getenv(kTrustVariable);
  std::vector<std::string> paths;
  for (std::string_view rest = given == nullptr ? "" : given; !rest.empty();) {
    const size_t end = std::min(rest.find(':'), rest.size());
    if (end > 0) paths.emplace_back(rest.substr(0, end));
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return paths;
}

// Of the mount by which it was reached: the same file may be writable by another.
bool IsReadOnly(const UniqueFd& fd) {
  struct statvfs mount {};
  return fstatvfs(fd.get(), &mount) == 0 && (mount.f_flag & ST_RDONLY) != 0;
}

// One walk along a path.
class Walk {
 public:
  Walk(uid_t user, const std::vector<std::string>& closed, bool directory)
      : user_(user), closed_(IdentitiesOf(closed)), directory_(directory) {}

  tl::expected<TrustedFile, Distrust> Run(const std::string& path);

 private:
  struct Step {
    UniqueFd fd;
    std::string name;
    bool closed = false;  // to others, as are all below it
  };

  tl::unexpected<Distrust> Broken(const std::string& path, int error) const;
  // False: errno says why.
  bool Enter(const std::string& name);
  bool Follow(const UniqueFd& link);
  void Push(const std::string& path);
  bool IsClosed(const struct stat& status) const;
  void Judge(const UniqueFd& fd, const struct stat& status, const std::string& path, bool last);
  void Add(Flaw flaw);
  std::string PathOf(const std::string& name) const;

  const uid_t user_;
  const std::vector<Identity> closed_;
  const bool directory_;
  std::deque<std::string> ahead_;
  std::vector<Step> behind_;  // the root first
  int links_ = 0;
  std::vector<Flaw> flaws_;
};

std::string Walk::PathOf(const std::string& name) const {
  std::string path;
  for (const Step& step : behind_) {
    if (!step.name.empty()) path += "/" + step.name;
  }
  return name.empty() && !path.empty() ? path : path + "/" + name;
}

tl::unexpected<Distrust> Walk::Broken(const std::string& path, int error) const {
  const Code code = error == ENOENT   ? Code::kNotFound
                    : error == EACCES ? Code::kPermissionDenied
                                      : Code::kInvalidArgument;
  return tl::unexpected(Distrust{
      .error = {code, SafeText(path) + ": cannot be read: " + ErrnoText(error)}, .flaws = {}});
}

// What is ahead begins with the names of `path`.
void Walk::Push(const std::string& path) {
  std::deque<std::string> names;
  for (size_t at = 0; at < path.size();) {
    const size_t end = std::min(path.find('/', at), path.size());
    const std::string name = path.substr(at, end - at);
    if (!name.empty() && name != ".") names.push_back(name);
    at = end + 1;
  }
  ahead_.insert(ahead_.begin(), names.begin(), names.end());
}

// Links may lead to the same directory again.
void Walk::Add(Flaw flaw) {
  flaw.path = SafeText(std::move(flaw.path));
  const auto same = [&](const Flaw& one) { return one.path == flaw.path && one.what == flaw.what; };
  if (std::none_of(flaws_.begin(), flaws_.end(), same)) flaws_.push_back(std::move(flaw));
}

bool Walk::IsClosed(const struct stat& status) const {
  return (!behind_.empty() && behind_.back().closed) ||
         std::find(closed_.begin(), closed_.end(), Identity(status)) != closed_.end();
}

void Walk::Judge(const UniqueFd& fd, const struct stat& status, const std::string& path,
                 bool last) {
  const bool read_only = IsReadOnly(fd);
  if (status.st_uid != 0 && status.st_uid != user_) {
    const bool link = S_ISLNK(status.st_mode);
    Add({path,
         std::string(link ? "is a link that " : "") + "belongs to " + OwnerText(status.st_uid),
         std::string("chown ") + (link ? "-h " : "") +
             (user_ == 0 ? "root " : std::to_string(user_) + " ") + ShellArgument(path),
         false, read_only});
  }
  if (S_ISLNK(status.st_mode) || (status.st_mode & 022) == 0) return;
  if ((read_only && status.st_uid == 0) || IsClosed(status)) return;
  const bool sticky = S_ISDIR(status.st_mode) && (status.st_mode & S_ISVTX) != 0 &&
                      status.st_uid == 0 && !(last && directory_);
  if (sticky) return;
  const bool everybody = (status.st_mode & 002) != 0;
  Add({path,
       "may be written by " + (everybody ? "everybody" : "the group " + GroupName(status.st_gid)) +
           " (" + ModeText(status.st_mode) + ")",
       "chmod go-w " + ShellArgument(path), true, read_only});
}

bool Walk::Follow(const UniqueFd& link) {
  if (++links_ > kMostLinks) {
    errno = ELOOP;
    return false;
  }
  std::array<char, PATH_MAX> target;
  const ssize_t size = readlinkat(link.get(), "", target.data(), target.size());
  if (size < 0) return false;
  const std::string to(target.data(), static_cast<size_t>(size));
  if (to.starts_with('/')) behind_.resize(1);
  Push(to);
  return true;
}

bool Walk::Enter(const std::string& name) {
  if (name == "..") {
    if (behind_.size() > 1) behind_.pop_back();
    return true;
  }
  UniqueFd fd(openat(behind_.back().fd.get(), name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
  struct stat status {};
  if (!fd || fstat(fd.get(), &status) != 0) return false;
  const bool last = ahead_.empty();
  if (!last && !S_ISDIR(status.st_mode) && !S_ISLNK(status.st_mode)) {
    errno = ENOTDIR;
    return false;
  }
  Judge(fd, status, PathOf(name), last);
  if (S_ISLNK(status.st_mode)) return Follow(fd);
  const bool closed = IsClosed(status);
  behind_.push_back({std::move(fd), name, closed});
  return true;
}

tl::expected<TrustedFile, Distrust> Walk::Run(const std::string& path) {
  std::array<char, PATH_MAX> here{};
  if (!path.starts_with('/') && getcwd(here.data(), here.size()) == nullptr) {
    return Broken(path, errno);
  }
  Push(path.starts_with('/') ? path : std::string(here.data()) + "/" + path);
  UniqueFd root(open("/", O_PATH | O_DIRECTORY | O_CLOEXEC));
  struct stat status {};
  if (!root || fstat(root.get(), &status) != 0) return Broken(path, errno);
  Judge(root, status, "/", ahead_.empty());
  behind_.push_back({std::move(root), "", IsClosed(status)});
  while (!ahead_.empty()) {
    const std::string name = std::move(ahead_.front());
    ahead_.pop_front();
    if (!Enter(name)) return Broken(path, errno);
  }
  if (fstat(behind_.back().fd.get(), &status) != 0) return Broken(path, errno);
  if (directory_ != S_ISDIR(status.st_mode)) return Broken(path, directory_ ? ENOTDIR : EISDIR);
  if (const std::string what = NotRegular(status.st_mode); !directory_ && !what.empty()) {
    return tl::unexpected(
        Distrust{.error = {Code::kInvalidArgument, SafeText(path) + ": " + what}, .flaws = {}});
  }
  if (!flaws_.empty()) {
    return tl::unexpected(
        Distrust{.error = {Code::kFailedPrecondition,
                           SafeText(path) + " is not trusted: " + Describe(flaws_)},
                 .flaws = std::move(flaws_)});
  }
  const std::string real = PathOf("");
  Step end = std::move(behind_.back());
  if (behind_.size() > 1) behind_.pop_back();
  return TrustedFile(std::move(behind_.back().fd), std::move(end.name), std::move(end.fd), real);
}

}  // namespace

std::string DescribeRemedy(const Flaw& flaw) {
  return "run \"" + flaw.remedy + "\"" +
         (flaw.read_only ? " where it is mounted from, for here it is read-only" : "");
}

std::string Describe(const std::vector<Flaw>& flaws) {
  std::string text;
  std::string excusable;
  for (const Flaw& flaw : flaws) {
    text += (text.empty() ? "" : "; ") + flaw.path + " " + flaw.what + ": " + DescribeRemedy(flaw);
    if (flaw.by_mode) excusable += (excusable.empty() ? "" : ":") + flaw.path;
  }
  if (excusable.empty()) return text;
  return text + "; or, where no one else can get there, set " + kTrustVariable + "=" +
         ShellArgument(excusable);
}

std::vector<std::string> RelativeInTrustVariable() {
  auto paths = SplitTrustVariable();
  std::erase_if(paths, [](const std::string& path) { return path.starts_with('/'); });
  return paths;
}

Result<UniqueFd> TrustedFile::Open() const {
  return OpenRegular("/proc/self/fd/" + std::to_string(file_.get()), path_);
}

std::string TrustedFile::Reach() const {
  return "/proc/self/fd/" + std::to_string(directory_.get()) + "/" + name_;
}

Trust Trust::OfThisProcess() {
  auto paths = SplitTrustVariable();
  std::erase_if(paths, [](const std::string& path) { return !path.starts_with('/'); });
  return Trust(geteuid(), std::move(paths));
}

tl::expected<TrustedFile, Distrust> Trust::Find(const std::string& path) const {
  return Walk(user_, closed_, false).Run(path);
}

tl::expected<TrustedFile, Distrust> Trust::FindDirectory(const std::string& path) const {
  return Walk(user_, closed_, true).Run(path);
}

}  // namespace lastcall
