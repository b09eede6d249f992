// The control channel between lastcalld and a lastcall-host: a pair of SOCK_SEQPACKET sockets, one
// protobuf message a packet, descriptors beside it. A message too large for a packet travels in a
// memfd.
#pragma once

#include <google/protobuf/message_lite.h>

#include <functional>
#include <optional>
#include <utility>
#include <vector>

#include <lastcall/base/result.h>
#include <lastcall/base/unique_fd.h>

namespace lastcall {

// Where a host finds its end.
inline constexpr int kControlFd = 3;

// Threads: one may send while another receives.
class Channel {
 public:
  // Both ends, CLOEXEC and non-blocking.
  static Result<std::pair<Channel, Channel>> Pair();
  // The end that was inherited as descriptor number `fd`.
  explicit Channel(UniqueFd fd) : fd_(std::move(fd)) {}

  int fd() const { return fd_.get(); }
  UniqueFd Release() { return std::move(fd_); }

  static constexpr size_t kMaxFds = 250;  // with one message; SCM_MAX_FD is 253

  enum class Sent { kYes, kFull, kClosed };
  // Does not block. kFull: there is no room, or no memory; try again when fd() is writable.
  Sent TrySend(const google::protobuf::MessageLite& message,
               const std::vector<int>& fds = {}) const;
  // Blocks: until there is room, or the other end is gone.
  void Send(const google::protobuf::MessageLite& message) const;

  // Whether to take a message of so many bytes, with so many descriptors beside it.
  using Admits = std::function<bool(size_t bytes, size_t descriptors)>;

  enum class Received { kYes, kNothingYet, kClosed, kMalformed, kRefused };
  // Does not block, whatever the other end sends: a large message has to be in a sealed memfd, for
  // to read any other file, or to ask for its size, may take forever. What was received replaces
  // `message` and `fds`. kRefused: `admits` did not want it, and nothing of it was read.
  Received TryReceive(google::protobuf::MessageLite& message, std::vector<UniqueFd>* fds,
                      const Admits& admits = {}) const;
  // Blocks: until there is something to receive, or the other end is gone.
  void WaitReadable() const;

 private:
  UniqueFd fd_;
};

}  // namespace lastcall
