#include "lastcall/base/regular_file.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>

#include <array>
#include <cerrno>

#include "lastcall/base/safe_text.h"

namespace lastcall {
namespace {

tl::unexpected<Error> Unreadable(const std::string& path, int error) {
  const Code code = error == ENOENT   ? Code::kNotFound
                    : error == EACCES ? Code::kPermissionDenied
                                      : Code::kInvalidArgument;
  return Fail(code, SafeText(path) + ": cannot be read: " + ErrnoText(error));
}

tl::unexpected<Error> TooLarge(const std::string& path, size_t most) {
  return Fail(Code::kOutOfRange, SafeText(path) + ": is larger than " + FormatSize(most));
}

}  // namespace

std::string NotRegular(unsigned mode) {
  const char* const kind = S_ISREG(mode)    ? nullptr
                           : S_ISFIFO(mode) ? "named pipe (FIFO)"
                           : S_ISSOCK(mode) ? "socket"
                           : S_ISDIR(mode)  ? "directory"
                                            : "device";
  return kind == nullptr ? "" : std::string("is a ") + kind + ", not a regular file";
}

Result<UniqueFd> OpenRegular(const std::string& path, const std::string& name) {
  // A FIFO opens without anybody at its other end; a terminal does not become this process's.
  UniqueFd fd(open(path.c_str(), O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
  struct stat status {};
  if (!fd || fstat(fd.get(), &status) != 0) return Unreadable(name, errno);
  if (const std::string what = NotRegular(status.st_mode); !what.empty()) {
    return Fail(Code::kInvalidArgument, SafeText(name) + ": " + what);
  }
  return fd;
}

Result<std::string> ReadUpTo(size_t most, int fd, const std::string& name) {
  struct stat status {};
  if (fstat(fd, &status) == 0 && status.st_size > static_cast<off_t>(most)) {
    return TooLarge(name, most);
  }
  std::string text;
  std::array<char, 1 << 16> buffer;
  while (true) {
    const ssize_t size = read(fd, buffer.data(), buffer.size());
    if (size == 0) return text;
    if (size < 0 && errno == EAGAIN) {
      pollfd more{fd, POLLIN, 0};  // a pipe that somebody made non-blocking
      poll(&more, 1, -1);
      continue;
    }
    if (size < 0 && errno == EINTR) continue;
    if (size < 0) return Unreadable(name, errno);
    text.append(buffer.data(), static_cast<size_t>(size));
    if (text.size() > most) return TooLarge(name, most);  // it grows, or does not know its size
  }
}

std::string FormatSize(size_t bytes) {
  constexpr std::array<const char*, 4> kSizes{" bytes", " KiB", " MiB", " GiB"};
  size_t unit = 0;
  for (; unit + 1 < kSizes.size() && bytes >= 1024 && bytes % 1024 == 0; ++unit) bytes /= 1024;
  return std::to_string(bytes) + kSizes[unit];
}

}  // namespace lastcall
