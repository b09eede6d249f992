#include "daemon/receipt_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include <lastcall/base/unique_fd.h>

namespace lastcall {
namespace {

std::string Remedy(int error) {
  switch (error) {
    case ENOSPC:
    case EDQUOT: return "make room on its file system";
    case EROFS: return "mount it for writing, or choose another state_dir";
    case ENOTDIR: return "a file is in the place of a directory; choose another state_dir";
    case ENOENT: return "create the directory above it";
    default: return "give the daemon's user the right to write there, or choose another state_dir";
  }
}

std::string Explain(const std::string& state_dir, int error) {
  return "cannot keep the receipt in " + state_dir + "/receipt.json: " + ErrnoText(error) + "; " +
         Remedy(error);
}

// 0, or errno.
int WriteAll(const std::string& path, const std::string& text, const ReceiptDisk& disk,
             std::atomic<bool>* written) {
  // Anew, for what a link of that name leads to is not ours.
  if (unlink(path.c_str()) != 0 && errno != ENOENT) return errno;
  const UniqueFd fd(open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644));
  if (!fd) return errno;
  for (size_t at = 0; at < text.size();) {
    const ssize_t size = disk.write(fd.get(), text.data() + at, text.size() - at);
    if (size < 0 && errno == EINTR) continue;
    if (size < 0) return errno;
    at += static_cast<size_t>(size);
  }
  if (written != nullptr) written->store(true);
  // Before the rename, or a power cut could leave an empty file in the place of a whole one.
  while (disk.sync(fd.get()) != 0) {
    if (errno != EINTR) return errno;
  }
  return 0;
}

std::string PathIn(const std::string& state_dir) { return state_dir + "/receipt.json"; }
std::string TemporaryIn(const std::string& state_dir) { return PathIn(state_dir) + ".new"; }

}  // namespace

std::string ReceiptWarning(const std::string& state_dir) {
  std::string directory = state_dir;
  if (access(directory.c_str(), F_OK) != 0 && errno == ENOENT) {
    directory = directory.substr(0, std::max<size_t>(directory.rfind('/'), 1));
  }
  if (access((directory + "/.").c_str(), W_OK | X_OK) == 0) return "";
  return Explain(state_dir, errno) + "; until then it is in the log alone";
}

ReceiptDisk ReceiptDisk::Real() { return {.write = ::write, .sync = ::fsync, .rename = ::rename}; }

Result<> WriteReceipt(const std::string& state_dir, const std::string& text,
                      const ReceiptDisk& disk, std::atomic<bool>* written) {
  const std::string path = PathIn(state_dir), temporary = TemporaryIn(state_dir);
  const auto fail = [&](int error) { return Fail(Code::kInternal, Explain(state_dir, error)); };
  if (mkdir(state_dir.c_str(), 0755) != 0 && errno != EEXIST) return fail(errno);
  int error = WriteAll(temporary, text, disk, written);
  if (error == 0 && disk.rename(temporary.c_str(), path.c_str()) != 0) error = errno;
  if (error == 0) return {};
  if (written != nullptr) written->store(false);  // before the file goes: see PublishReceipt
  unlink(temporary.c_str());
  return fail(error);
}

Result<> PublishReceipt(const std::string& state_dir, const std::atomic<bool>& written) {
  if (rename(TemporaryIn(state_dir).c_str(), PathIn(state_dir).c_str()) == 0) return {};
  const int error = errno;
  // It came so far itself meanwhile; or it failed, and the older one is there.
  if (error == ENOENT && written) return {};
  return Fail(Code::kInternal, Explain(state_dir, error));
}

}  // namespace lastcall
