#include "lastcall/base/line_writer.h"

#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdint>
#include <string>

namespace lastcall {
namespace {

// Between the parts of a line that was divided.
constexpr std::string_view kGoesOn = "…";

// What the descriptor takes in one piece. The kernel has a lock for a file and for a terminal,
// which a pipe and a socket hold only until they are full.
size_t LongestWrite(int fd) {
  struct stat status {};
  const bool whole =
      fstat(fd, &status) == 0 && (S_ISREG(status.st_mode) || S_ISCHR(status.st_mode));
  return whole ? SIZE_MAX : PIPE_BUF;
}

bool WriteAll(int fd, std::string_view bytes) {
  if (fd < 0) return false;  // poll(2) would pass it over
  while (!bytes.empty()) {
    pollfd room{fd, POLLOUT, 0};
    if (poll(&room, 1, -1) < 0 && errno != EINTR) return false;
    const ssize_t size = write(fd, bytes.data(), bytes.size());
    if (size >= 0) {
      bytes.remove_prefix(static_cast<size_t>(size));
    } else if (errno != EINTR && errno != EAGAIN) {
      return false;
    }
  }
  return true;
}

// At most so many bytes from the front, and not the half of a character.
size_t Cut(std::string_view text, size_t most) {
  if (text.size() <= most) return text.size();
  size_t size = most;
  while (size > 0 && (static_cast<unsigned char>(text[size]) & 0xc0) == 0x80) --size;
  return size > 0 ? size : most;
}

}  // namespace

bool LineWriter::Write(std::string_view head, std::string_view text) const {
  const size_t longest = LongestWrite(fd_);
  const size_t around = head.size() + 2 * kGoesOn.size() + 1;
  // A head that leaves no room for words is not worth a promise.
  const size_t most = std::max<size_t>(longest - std::min(longest, around), 64);
  std::string piece;
  bool first = true;
  do {
    const bool whole = first && head.size() + text.size() + 1 <= longest;
    const size_t size = whole ? text.size() : Cut(text, most);
    piece.assign(head);
    if (!first) piece += kGoesOn;
    piece += text.substr(0, size);
    text.remove_prefix(size);
    if (!text.empty()) piece += kGoesOn;
    piece += '\n';
    if (!WriteAll(fd_, piece)) return false;
    first = false;
  } while (!text.empty());
  return true;
}

}  // namespace lastcall
