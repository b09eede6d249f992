// Clients that are late, by more than any margin of time would give them: none of what they have begun
// is lost when their server retires. HTTP/2 by hand, for no client of gRPC's can be held in the middle
// of a write.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/sockios.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <optional>
#include <string>
#include <string_view>
#include <thread>

#include "echo.grpc.pb.h"

#include <lastcall/event/latch.h>
#include <lastcall/rpc/server.h>

#include "suspended_thread.h"
#include "temp_folder.h"

namespace lastcall {
namespace {

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

uint32_t NumberAt(std::string_view bytes, size_t at, size_t size) {
  uint32_t number = 0;
  for (size_t i = 0; i < size; ++i) number = number << 8 | static_cast<uint8_t>(bytes[at + i]);
  return number;
}

std::string Bytes(uint32_t number, size_t size) {
  std::string bytes;
  for (size_t i = size; i-- > 0;) bytes += static_cast<char>(number >> (8 * i));
  return bytes;
}

std::string Wire(const Frame& frame) {
  return Bytes(static_cast<uint32_t>(frame.payload.size()), 3) + Bytes(frame.kind, 1) +
         Bytes(frame.flags, 1) + Bytes(frame.stream, 4) + frame.payload;
}

std::string Header(const std::string& name, const std::string& value) {
  return "\0"s + Bytes(static_cast<uint32_t>(name.size()), 1) + name +
         Bytes(static_cast<uint32_t>(value.size()), 1) + value;
}

std::string RequestHeaders(uint32_t stream,
                           const std::string& method = "/lastcall.example.Echo/Unary") {
  return Wire({kHeaders, kEndHeaders, stream,
               Header(":method", "POST") + Header(":scheme", "http") + Header(":path", method) +
                   Header(":authority", "x") + Header("te", "trailers") +
                   Header("content-type", "application/grpc")});
}

// An empty message.
std::string RequestBody(uint32_t stream) {
  return Wire({kData, kEndStream, stream, std::string(5, '\0')});
}

int BytesOf(int fd, unsigned long which) {
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
  // It waits in the queue.
  explicit LateClient(const Listener& listener) {
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
    Greet();
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

 private:
  void Greet() { Send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + Wire({kSettings, 0, 0, ""})); }
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
bool IsLastWord(const Frame& frame) {
  return frame.kind == kGoaway && NumberAt(frame.payload, 0, 4) != kAnyStream;
}
bool IsPing(const Frame& frame) { return frame.kind == kPing && frame.flags == 0; }
bool IsEndOfCall(const Frame& frame) {
  return frame.kind == kResetStream || (frame.kind == kHeaders && (frame.flags & kEndStream) != 0);
}

class EmptyEcho final : public example::Echo::Service {
  grpc::Status Unary(grpc::ServerContext*, const example::EchoRequest*,
                     example::EchoReply*) override {
    return grpc::Status::OK;
  }
};

class LateTest : public testing::Test {
 protected:
  std::unique_ptr<Server> StartServer(std::vector<Listener> listeners = {}) {
    ServerOptions options;
    options.listeners = std::move(listeners);
    options.name = "test";
    options.services = {&echo_};
    options.reflection = true;
    options.warn = [](const std::string& what) { ADD_FAILURE() << what; };
    return std::move(*Server::Start(std::move(options), clock_, Termination()));
  }

  // Keeps what is left behind.
  void BeginRetire(Server& server, Latch& retired) {
    server.BeginRetire({.heir =
                            [this](std::vector<UniqueFd> left) {
                              std::move(left.begin(), left.end(), std::back_inserter(left_));
                            }},
                       [&retired] { retired.Set(); });
  }
  void BeginRetire() { BeginRetire(*server_, retired_); }

  // A client that waited in the queue of an address that nobody serves from here on.
  LateClient ComeToTheLastCall(int domain) {
    auto listener = Listener::Bind(
        *Address::Parse(domain == AF_UNIX ? "unix:" + (folder_ / "late") : "127.0.0.1:0"));
    EXPECT_TRUE(listener) << listener.error().message;
    LateClient client(*listener);
    const std::string address = listener->address();
    std::vector<Listener> listeners;
    listeners.push_back(std::move(*listener));
    server_ = StartServer(std::move(listeners));
    server_->BeginRetire({.unserved = {address}}, [this] { retired_.Set(); });
    return client;
  }

  const TempFolder folder_;
  const SteadyClock clock_;
  EmptyEcho echo_;
  Latch retired_;
  std::vector<UniqueFd> left_;
  std::unique_ptr<Server> server_ = StartServer();
};

class LateClientTest : public LateTest, public testing::WithParamInterface<int> {};

// More than anybody is waited for who does not answer, and less than what is in doubt.
constexpr auto kLate = 3s;

// Longer than it takes to ask those that are there, and not as long as a newcomer is waited for.
constexpr auto kSoon = 500ms;

// When so many single messages have been read, the reader has done all else that it does in between.
constexpr int kMoreThanAreReadAtOnce = 20;

// The rest of a request may be late by what a lost segment takes to be sent again, or by what a client
// must wait for its turn. gRPC has seen the call, though nobody else has.
TEST_P(LateClientTest, ARequestThatHasBegunToArriveIsAnswered) {
  LateClient client(GetParam(), *server_);
  const std::string headers = RequestHeaders(1);
  client.Send(headers.substr(0, headers.size() / 2));
  client.AwaitRead();
  BeginRetire();
  const auto ping = client.Await(IsPing);
  ASSERT_TRUE(ping) << "it is asked to leave";
  const auto cut = client.Await([](const Frame&) { return true; }, kLate);
  EXPECT_FALSE(cut) << "frame " << int{cut->kind} << " of stream " << cut->stream;
  EXPECT_FALSE(client.closed());
  client.Send(headers.substr(headers.size() / 2) + RequestBody(1));
  const auto answer =
      client.Await([](const Frame& each) { return each.kind == kData || IsEndOfCall(each); });
  ASSERT_TRUE(answer);
  EXPECT_EQ(int{answer->kind}, kData);
  client.Send(Wire({kPing, kAck, 0, ping->payload}));
  const auto last = client.Await(IsLastWord);
  ASSERT_TRUE(last);
  EXPECT_EQ(NumberAt(last->payload, 0, 4), 1u) << "it was seen";
  retired_.Wait();
}

// It is alive, but its machine is busy. The GOAWAY of a dismissal has an error code, and Node and Java
// lose what they have begun before they read it.
TEST_P(LateClientTest, ASilentOneIsStillServedWhenThoseWhomNobodySucceedsAreGone) {
  LateClient client(GetParam(), *server_);
  BeginRetire();
  const auto ping = client.Await(IsPing);
  ASSERT_TRUE(ping) << "it is asked to leave";
  for (int i = 0; i < 3; ++i) {
    Latch retired;
    const auto unsucceeded = StartServer();
    LateClient silent(GetParam(), *unsucceeded);
    unsucceeded->BeginRetire({}, [&] { retired.Set(); });
    EXPECT_TRUE(silent.Await(IsLastWord));
    retired.Wait();
  }
  client.Send(RequestHeaders(1) + RequestBody(1));
  const auto answer = client.Await([](const Frame& each) {
    return each.kind == kData || IsEndOfCall(each) || IsLastWord(each);
  });
  ASSERT_TRUE(answer);
  ASSERT_EQ(int{answer->kind}, kData);
  const auto end = client.Await(IsEndOfCall);
  ASSERT_TRUE(end);
  EXPECT_EQ(int{end->kind}, kHeaders);
  client.Send(Wire({kPing, kAck, 0, ping->payload}));
  const auto last = client.Await(IsLastWord);
  ASSERT_TRUE(last);
  EXPECT_EQ(NumberAt(last->payload, 0, 4), 1u) << "it was seen";
  EXPECT_EQ(NumberAt(last->payload, 4, 4), 0u) << "and nothing is wrong";
  retired_.Wait();
}

// Asked to leave before it has begun its call, it would begin it elsewhere, where it is refused.
TEST_P(LateClientTest, WhoCameToTheLastCallIsAskedToLeaveWhenItHasBegunItsOwn) {
  LateClient client = ComeToTheLastCall(GetParam());
  const auto early = client.Await([](const Frame& each) { return each.kind == kGoaway; }, kSoon);
  EXPECT_FALSE(early);
  client.Send(RequestHeaders(1) + RequestBody(1));
  const auto answer =
      client.Await([](const Frame& each) { return each.kind == kData || IsEndOfCall(each); });
  ASSERT_TRUE(answer);
  EXPECT_EQ(int{answer->kind}, kData);
  retired_.Wait();
}

TEST_P(LateClientTest, WhoCameToTheLastCallAndSaysNothingIsAskedToLeaveInTheEnd) {
  LateClient client = ComeToTheLastCall(GetParam());
  EXPECT_TRUE(client.Await(IsLastWord));
  retired_.Wait();
}

// nginx, which answers each PING, takes a whole response for broken where the end comes first.
TEST_P(LateClientTest, WhoIsSentAwayMayAnswerBeforeTheEnd) {
  for (int tries = 0; tries < 100; ++tries) {  // on a busy machine it may be late for one
    Latch retired;
    const auto server = StartServer();
    LateClient client(GetParam(), *server);
    BeginRetire(*server, retired);
    const auto ping = client.Await(IsPing);
    ASSERT_TRUE(ping);
    const std::string answer = Wire({kPing, kAck, 0, ping->payload});
    client.Send(answer);
    ASSERT_TRUE(client.Await(IsLastWord));
    while (server->CountConnections() > 0) std::this_thread::yield();
    for (int i = 0; i < kMoreThanAreReadAtOnce && !client.AwaitEnd(0ms); ++i) {
      client.Send(answer);
      while (client.unread() > 0 && !client.AwaitEnd(0ms)) std::this_thread::yield();
    }
    const bool ended = client.AwaitEnd(0ms);
    retired.Wait();
    if (!ended) return;
  }
  FAIL() << "whatever it says, the end comes before";
}

// Over unix sockets the writer knows what the reader has taken, so that the room can be used up.
TEST_F(LateTest, WhoHasNotReadYetIsNotCutOff) {
  LateClient client(AF_UNIX, *server_);
  int room = 8192;
  ASSERT_EQ(setsockopt(client.server(), SOL_SOCKET, SO_SNDBUF, &room, sizeof(room)), 0);
  socklen_t size = sizeof(room);
  ASSERT_EQ(getsockopt(client.server(), SOL_SOCKET, SO_SNDBUF, &room, &size), 0);
  uint32_t calls = 0;
  for (; BytesOf(client.server(), SIOCOUTQ) < room; ++calls) {
    client.Send(RequestHeaders(2 * calls + 1) + RequestBody(2 * calls + 1));
    while (server_->calls().total() <= calls || server_->calls().in_flight() > 0) {
      std::this_thread::yield();
    }
  }
  BeginRetire();
  EXPECT_FALSE(client.AwaitEnd(kLate));
  for (uint32_t i = 0; i < calls; ++i) {
    const auto end = client.Await(IsEndOfCall);
    ASSERT_TRUE(end) << i;
    EXPECT_EQ(int{end->kind}, kHeaders) << i;
  }
  const auto last = client.Await(IsLastWord);
  ASSERT_TRUE(last);
  EXPECT_EQ(NumberAt(last->payload, 0, 4), 2 * calls - 1);
  retired_.Wait();
}

// It may have what a client sent in hand.
TEST_F(LateTest, NobodyIsDismissedBeforeEveryThreadHasHadItsTurn) {
  LateClient client(AF_UNIX, *server_);
  SuspendedThread suspended;
  BeginRetire();
  EXPECT_FALSE(client.Await(IsLastWord, kLate));
  EXPECT_FALSE(client.closed());
  suspended.Resume();
  EXPECT_TRUE(client.Await(IsLastWord));
  retired_.Wait();
}

// gRPC counts it as it does a call.
TEST_F(LateTest, AStreamOfTheHousekeepingHoldsNothing) {
  LateClient client(AF_UNIX, *server_);
  client.Send(RequestHeaders(1, "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"));
  client.AwaitRead();
  BeginRetire();
  EXPECT_TRUE(client.Await(IsLastWord, 4s))
      << "not once what may be half a request has had its time";
  retired_.Wait();
}

INSTANTIATE_TEST_SUITE_P(, LateClientTest, testing::Values(AF_INET, AF_UNIX),
                         [](const auto& param) { return param.param == AF_INET ? "Tcp" : "Unix"; });

}  // namespace
}  // namespace lastcall
