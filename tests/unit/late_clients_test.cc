// Clients that are late, by more than any margin of time would give them: none of what they have begun
// is lost when their server retires.
#include <gtest/gtest.h>
#include <linux/sockios.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <atomic>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <thread>

#include "echo.grpc.pb.h"

#include <lastcall/event/latch.h>
#include <lastcall/rpc/server.h>

#include "late_client.h"
#include "suspended_thread.h"
#include "temp_folder.h"

namespace lastcall {
namespace {

using namespace std::chrono_literals;
using namespace late;

// Answers at once, or once it is let.
class EmptyEcho final : public example::Echo::Service {
 public:
  void Hold() { held_ = true; }
  void Let() { let_.Set(); }

 private:
  grpc::Status Unary(grpc::ServerContext*, const example::EchoRequest*,
                     example::EchoReply*) override {
    if (held_) let_.Wait();
    return grpc::Status::OK;
  }

  std::atomic<bool> held_{false};
  Latch let_;
};

// Whether an epoll instance of this process would not tell what it has to read.
bool IsMuted(int fd) {
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fdinfo")) {
    std::ifstream info(entry.path());
    for (std::string line; std::getline(info, line);) {
      int watched = -1;
      unsigned int events = 0;
      if (std::sscanf(line.c_str(), "tfd: %d events: %x", &watched, &events) != 2) continue;
      if (watched == fd && (events & EPOLLIN) == 0) return true;
    }
  }
  return false;
}

class LateTest : public testing::Test {
 protected:
  std::unique_ptr<Server> StartServer(std::vector<Listener> listeners = {}) {
    return StartServer(std::move(listeners), echo_);
  }
  std::unique_ptr<Server> StartServer(std::vector<Listener> listeners, EmptyEcho& echo) {
    ServerOptions options;
    options.listeners = std::move(listeners);
    options.name = "test";
    options.services = {&echo};
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

  // Where clients wait in the queue.
  Listener Bind(int domain) {
    auto listener = Listener::Bind(
        *Address::Parse(domain == AF_UNIX ? "unix:" + (folder_ / "late") : "127.0.0.1:0"));
    EXPECT_TRUE(listener) << listener.error().message;
    return std::move(*listener);
  }
  // Nobody serves that address from here on.
  void BeginLastCall(Listener listener, LeaveSpread leave = LeaveSpread::Within({}, {})) {
    const std::string address = listener.address();
    std::vector<Listener> listeners;
    listeners.push_back(std::move(listener));
    server_ = StartServer(std::move(listeners));
    server_->BeginRetire({.leave = leave, .unserved = {address}}, [this] { retired_.Set(); });
  }
  LateClient ComeToTheLastCall(int domain) {
    Listener listener = Bind(domain);
    LateClient client(listener);
    BeginLastCall(std::move(listener));
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

// It is alive, but its machine is busy. The GOAWAY of an eviction has an error code, and Node and Java
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

// gRPC does not say which connection has begun a call.
TEST_P(LateClientTest, NorIsItWhenAnotherHasBegunThatHadSaidNothing) {
  Listener listener = Bind(GetParam());
  LateClient client(listener), silent(listener, false);
  BeginLastCall(std::move(listener));
  ASSERT_TRUE(client.Await([](const Frame& each) { return each.kind == kSettings; }));
  silent.Greet();
  silent.Send(RequestHeaders(1) + RequestBody(1));
  ASSERT_TRUE(silent.Await(IsEndOfCall));
  const auto early = client.Await([](const Frame& each) { return each.kind == kGoaway; }, kSoon);
  EXPECT_FALSE(early);
  client.Send(RequestHeaders(1) + RequestBody(1));
  const auto answer =
      client.Await([](const Frame& each) { return each.kind == kData || IsEndOfCall(each); });
  ASSERT_TRUE(answer);
  EXPECT_EQ(int{answer->kind}, kData);
  retired_.Wait();
}

// The others have the rest of grace to finish what they have begun.
TEST_P(LateClientTest, WhoCameToTheLastCallHasAQuarterOfGraceToBegin) {
  Listener listener = Bind(GetParam());
  LateClient client(listener);
  const Instant now = clock_.Now();
  BeginLastCall(std::move(listener), LeaveSpread(now, now + 4ms, LeaveSpread::kPause));
  EXPECT_TRUE(client.Await([](const Frame& each) { return each.kind == kGoaway; }, kSoon));
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
TEST_F(LateTest, NobodyIsEvictedBeforeEveryThreadHasHadItsTurn) {
  LateClient client(AF_UNIX, *server_);
  SuspendedThread suspended;
  BeginRetire();
  EXPECT_FALSE(client.Await(IsLastWord, kLate));
  EXPECT_FALSE(client.closed());
  suspended.Resume();
  EXPECT_TRUE(client.Await(IsLastWord));
  retired_.Wait();
}

// What keeps the other connections is no reason to be deaf on this one.
TEST_F(LateTest, ACallThatBeginsWhileItsConnectionIsMutedIsServedWhereAnotherHasBegun) {
#ifdef __SANITIZE_THREAD__
  GTEST_SKIP() << "to look whether it is muted takes longer than it is";
#endif
  for (int tries = 0; tries < 5; ++tries) {  // on a busy machine the other may be muted, too
    EmptyEcho echo;
    echo.Hold();
    Latch retired;
    const auto server = StartServer({}, echo);
    LateClient client(AF_UNIX, *server);
    SuspendedThread suspended;  // so that it stays muted
    BeginRetire(*server, retired);
    const Instant by = clock_.Now() + 20s;
    while (!IsMuted(client.server()) && clock_.Now() < by) std::this_thread::yield();
    LateClient newcomer(AF_UNIX, *server);
    client.Send(RequestHeaders(1) + RequestBody(1));
    newcomer.Send(RequestHeaders(1) + RequestBody(1));
    bool muted = false;
    while (client.unread() > 0 && !muted) muted = IsMuted(newcomer.server()) || clock_.Now() > by;
    echo.Let();
    suspended.Resume();
    for (LateClient* each : {&client, &newcomer}) {
      const auto answer = each->Await([](const Frame& frame) { return frame.kind == kData; });
      EXPECT_TRUE(answer || muted);
      EXPECT_TRUE(each->Await(IsLastWord) || muted);
    }
    retired.Wait();
    if (!muted) return;
  }
  FAIL() << "it is never heard again";
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
