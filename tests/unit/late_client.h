// A client whose HTTP/2 is written by hand, for no client of gRPC's can be held in the middle of a
// write: in a namespace of its own, with the words of the protocol.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <thread>

#include <lastcall/rpc/server.h>

namespace lastcall::late {

using namespace std::chrono_literals;
using namespace std::string_literals;

enum FrameKind : uint8_t {
  kData = 0,
  kHeaders = 1,
  kResetStream = 3,
  kSettings = 4,
  kPing = 6,
  kGoaway = 7
};
constexpr uint8_t kAck = 1, kEndStream = 1, kEndHeaders = 4;
constexpr uint32_t kAnyStream = 0x7fffffff;

struct Frame {
  uint8_t kind = 0;
  uint8_t flags = 0;
  uint32_t stream = 0;
  std::string payload;
};

inline uint32_t NumberAt(std::string_view bytes, size_t at, size_t size) {
  uint32_t number = 0;
  for (size_t i = 0; i < size; ++i) number = number << 8 | static_cast<uint8_t>(bytes[at + i]);
  return number;
}

inline std::string Bytes(uint32_t number, size_t size) {
  std::string bytes;
  for (size_t i = size; i-- > 0;) bytes += static_cast<char>(number >> (8 * i));
  return bytes;
}

inline std::string Wire(const Frame& frame) {
  return Bytes(static_cast<uint32_t>(frame.payload.size()), 3) + Bytes(frame.kind, 1) +
         Bytes(frame.flags, 1) + Bytes(frame.stream, 4) + frame.payload;
}

inline std::string Header(const std::string& name, const std::string& value) {
  return "\0"s + Bytes(static_cast<uint32_t>(name.size()), 1) + name +
         Bytes(static_cast<uint32_t>(value.size()), 1) + value;
}

inline std::string RequestHeaders(uint32_t stream,
                                  const std::string& method = "/lastcall.example.Echo/Unary") {
  return Wire({kHeaders, kEndHeaders, stream,
               Header(":method", "POST") + Header(":scheme", "http") + Header(":path", method) +
                   Header(":authority", "x") + Header("te", "trailers") +
                   Header("content-type", "application/grpc")});
}

// An empty message.
inline std::string RequestBody(uint32_t stream) {
  return Wire({kData, kEndStream, stream, std::string(5, '\0')});
}

inline int BytesOf(int fd, unsigned long which) {
  int bytes = -1;
  EXPECT_EQ(ioctl(fd, which, &bytes), 0);
  return bytes;
}

// A client, and the server's end of its connection.
class LateClient {
 public:
  LateClient(int domain, Server& server) {
    int ends[2];
    if (domain == AF_UNIX) {
      EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    } else {
      auto listener = Listener::Bind(*Address::Parse("127.0.0.1:0"));
      sockaddr_storage name{};
      socklen_t size = sizeof(name);
      getsockname(listener->fd(), reinterpret_cast<sockaddr*>(&name), &size);
      ends[0] = socket(AF_INET, SOCK_STREAM, 0);
      EXPECT_EQ(connect(ends[0], reinterpret_cast<sockaddr*>(&name), size), 0);
      ends[1] = accept(listener->fd(), nullptr, nullptr);
    }
    fd_ = UniqueFd(ends[0]);
    server_ = ends[1];
    fcntl(server_, F_SETFL, O_NONBLOCK);
    server.Take(UniqueFd(server_), "late");
    Greet();
    EXPECT_TRUE(
        Await([](const Frame& each) { return each.kind == kSettings && each.flags == kAck; }));
  }
  // It waits in the queue, and says nothing unless it `greets`.
  explicit LateClient(const Listener& listener, bool greets = true) {
    sockaddr_storage name{};
    socklen_t size = sizeof(name);
    getsockname(listener.fd(), reinterpret_cast<sockaddr*>(&name), &size);
    if (name.ss_family == AF_UNIX) {  // it was renamed since
      auto& path = reinterpret_cast<sockaddr_un&>(name);
      path = {AF_UNIX, {}};
      listener.address().substr("unix:"s.size()).copy(path.sun_path, sizeof(path.sun_path) - 1);
      size = sizeof(path);
    }
    fd_ = UniqueFd(socket(name.ss_family, SOCK_STREAM, 0));
    EXPECT_EQ(connect(fd_.get(), reinterpret_cast<sockaddr*>(&name), size), 0);
    if (greets) Greet();
  }

  int server() const { return server_; }

  void Send(const std::string& bytes) {
    ASSERT_EQ(send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(bytes.size()));
  }
  // What was sent and nobody has read yet.
  int unread() const { return BytesOf(server_, FIONREAD); }
  void AwaitRead() const {
    while (unread() > 0) std::this_thread::yield();
  }

  // The first frame that is asked for, of those that have not been looked at. Empty: none came in
  // time, or the connection is closed.
  template <class F>
  std::optional<Frame> Await(F wanted, std::chrono::milliseconds longest = 20s) {
    for (;;) {
      std::optional<Frame> frame = Next(longest);
      if (!frame || wanted(*frame)) return frame;
    }
  }
  bool closed() const { return closed_; }
  // Whether the other end writes nothing more, though there may be something to read.
  bool AwaitEnd(std::chrono::milliseconds longest) {
    pollfd one{fd_.get(), POLLRDHUP, 0};
    return poll(&one, 1, static_cast<int>(longest.count())) > 0;
  }

  void Greet() { Send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + Wire({kSettings, 0, 0, ""})); }

 private:
  std::optional<Frame> Next(std::chrono::milliseconds longest) {
    for (;;) {
      const size_t size = heard_.size() < 9 ? 9 : 9 + NumberAt(heard_, 0, 3);
      if (heard_.size() >= 9 && heard_.size() >= size) {
        Frame frame{static_cast<uint8_t>(heard_[3]), static_cast<uint8_t>(heard_[4]),
                    NumberAt(heard_, 5, 4), heard_.substr(9, size - 9)};
        heard_.erase(0, size);
        return frame;
      }
      pollfd one{fd_.get(), POLLIN, 0};
      if (poll(&one, 1, static_cast<int>(longest.count())) <= 0) return {};
      char some[4096];
      const ssize_t got = recv(fd_.get(), some, sizeof(some), 0);
      closed_ = got <= 0;
      if (closed_) return {};
      heard_.append(some, static_cast<size_t>(got));
    }
  }

  UniqueFd fd_;
  int server_ = -1;
  std::string heard_;
  bool closed_ = false;
};

// GOAWAY has the last stream that was seen, or will be, in its first four bytes.
inline bool IsLastWord(const Frame& frame) {
  return frame.kind == kGoaway && NumberAt(frame.payload, 0, 4) != kAnyStream;
}
inline bool IsPing(const Frame& frame) { return frame.kind == kPing && frame.flags == 0; }
inline bool IsEndOfCall(const Frame& frame) {
  return frame.kind == kResetStream || (frame.kind == kHeaders && (frame.flags & kEndStream) != 0);
}

}  // namespace lastcall::late
