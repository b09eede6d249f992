#include "wire/channel.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <string>

namespace lastcall {
namespace {

// The first byte of a packet: where the message is.
constexpr char kInline = 'i';
constexpr char kInMemfd = 'm';  // in the first descriptor

constexpr size_t kMaxInline = 60 * 1024;
constexpr off_t kMaxMessage = 64 << 20;

// Nobody changes it any more.
constexpr int kSeals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;

UniqueFd ToMemfd(const std::string& bytes) {
  UniqueFd fd(memfd_create("lastcall-message", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  size_t written = 0;
  while (fd && written < bytes.size()) {
    const ssize_t size = write(fd.get(), bytes.data() + written, bytes.size() - written);
    if (size < 0) return UniqueFd();
    written += static_cast<size_t>(size);
  }
  if (fd && fcntl(fd.get(), F_ADD_SEALS, kSeals) != 0) return UniqueFd();
  return fd;
}

// The size of the message that is in it.
std::optional<size_t> SizeOfMemfd(int fd) {
  // First of all: it is a question to the kernel, and never one to a file system that somebody runs.
  const int seals = fcntl(fd, F_GET_SEALS);
  if (seals < 0 || (seals & kSeals) != kSeals) return std::nullopt;
  struct stat status {};
  if (fstat(fd, &status) != 0 || status.st_size > kMaxMessage) return std::nullopt;
  // What fits a packet is never sent so.
  if (status.st_size <= static_cast<off_t>(kMaxInline)) return std::nullopt;
  return static_cast<size_t>(status.st_size);
}

std::optional<std::string> FromMemfd(int fd, size_t whole) {
  std::string bytes(whole, '\0');
  size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t size =
        pread(fd, bytes.data() + done, bytes.size() - done, static_cast<off_t>(done));
    if (size <= 0) return std::nullopt;
    done += static_cast<size_t>(size);
  }
  return bytes;
}

// Closing a socket may block for as long as whoever had it before wants.
void ForgetToLinger(int fd) {
  const linger none{};
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof(none));
}

std::vector<UniqueFd> TakeFds(msghdr& header) {
  std::vector<UniqueFd> fds;
  for (cmsghdr* each = CMSG_FIRSTHDR(&header); each != nullptr; each = CMSG_NXTHDR(&header, each)) {
    if (each->cmsg_level != SOL_SOCKET || each->cmsg_type != SCM_RIGHTS) continue;
    const size_t count = (each->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(each) + i * sizeof(int), sizeof(int));
      fds.emplace_back(fd);
      ForgetToLinger(fd);
    }
  }
  return fds;
}

// Or until the other end is gone.
void AwaitEvent(int fd, short event) {
  pollfd one{fd, event, 0};
  poll(&one, 1, -1);
}

}  // namespace

Result<std::pair<Channel, Channel>> Channel::Pair() {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) != 0) {
    return FailErrno("cannot make a control channel", errno);
  }
  return std::pair(Channel(UniqueFd(ends[0])), Channel(UniqueFd(ends[1])));
}

Channel::Sent Channel::TrySend(const google::protobuf::MessageLite& message,
                               const std::vector<int>& given) const {
  std::string body = message.SerializeAsString();
  std::vector<int> fds = given;
  UniqueFd memfd;
  char place = kInline;
  if (body.size() > kMaxInline) {
    memfd = ToMemfd(body);
    if (!memfd) return Sent::kFull;
    fds.insert(fds.begin(), memfd.get());
    body.clear();
    place = kInMemfd;
  }
  if (fds.size() > kMaxFds) return Sent::kClosed;
  iovec parts[] = {{&place, 1}, {body.data(), body.size()}};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(kMaxFds * sizeof(int))> control{};
  msghdr header{};
  header.msg_iov = parts;
  header.msg_iovlen = 2;
  if (!fds.empty()) {
    header.msg_control = control.data();
    header.msg_controllen = CMSG_SPACE(fds.size() * sizeof(int));
    cmsghdr* rights = CMSG_FIRSTHDR(&header);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(fds.size() * sizeof(int));
    std::memcpy(CMSG_DATA(rights), fds.data(), fds.size() * sizeof(int));
  }
  ssize_t size = 0;
  do {
    size = sendmsg(fd_.get(), &header, MSG_NOSIGNAL | MSG_DONTWAIT);
  } while (size < 0 && errno == EINTR);
  if (size >= 0) return Sent::kYes;
  // The last two: as many descriptors as may be in progress, or as much memory as there is.
  const bool full = errno == EAGAIN || errno == ENOBUFS || errno == ETOOMANYREFS || errno == ENOMEM;
  return full ? Sent::kFull : Sent::kClosed;
}

void Channel::Send(const google::protobuf::MessageLite& message) const {
  while (TrySend(message) == Sent::kFull) AwaitEvent(fd_.get(), POLLOUT);
}

Channel::Received Channel::TryReceive(google::protobuf::MessageLite& message,
                                      std::vector<UniqueFd>* fds, const Admits& admits) const {
  std::string packet(1 + kMaxInline, '\0');
  iovec part{packet.data(), packet.size()};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(kMaxFds * sizeof(int))> control{};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  header.msg_control = control.data();
  header.msg_controllen = control.size();
  ssize_t size = 0;
  do {
    size = recvmsg(fd_.get(), &header, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
  } while (size < 0 && errno == EINTR);
  if (size < 0) return errno == EAGAIN ? Received::kNothingYet : Received::kClosed;
  if (size == 0) return Received::kClosed;
  std::vector<UniqueFd> received = TakeFds(header);
  if ((header.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0) return Received::kMalformed;
  std::optional<size_t> bytes;
  const bool in_memfd = packet.front() == kInMemfd && !received.empty();
  if (packet.front() == kInline) bytes = static_cast<size_t>(size) - 1;
  if (in_memfd) bytes = SizeOfMemfd(received.front().get());
  if (!bytes) return Received::kMalformed;
  if (admits && !admits(*bytes, received.size())) return Received::kRefused;
  std::optional<std::string> body = std::move(packet);
  if (in_memfd) {
    body = FromMemfd(received.front().get(), *bytes);
    received.erase(received.begin());
  } else {
    body = body->substr(1, *bytes);
  }
  if (!body || !message.ParseFromString(*body)) return Received::kMalformed;
  if (fds != nullptr) *fds = std::move(received);
  return Received::kYes;
}

void Channel::WaitReadable() const { AwaitEvent(fd_.get(), POLLIN); }

}  // namespace lastcall
