// A server that retires under callers: none of them loses a call, whether gRPC can send a GOAWAY
// alone or not, over TCP and unix.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <random>
#include <thread>

#include "echo.grpc.pb.h"

#include <lastcall/event/latch.h>
#include <lastcall/rpc/goaway.h>
#include <lastcall/rpc/lingering.h>
#include <lastcall/rpc/server.h>

#include "no_more.h"

namespace lastcall {
namespace {

using namespace std::chrono_literals;
using example::Echo;
using example::EchoReply;
using example::EchoRequest;

class PlainEcho final : public Echo::Service {
  grpc::Status Unary(grpc::ServerContext*, const EchoRequest*, EchoReply*) override {
    return grpc::Status::OK;
  }
};

// What must be there for the promise to hold; without it, everything below would still pass, slowly.
TEST(GoawayTest, ThisGrpcCanSendItAlone) { EXPECT_TRUE(FindGoaway()); }
TEST(LingeringTest, GrpcsCallsComeByHere) { EXPECT_TRUE(Lingering::Works()); }

class Ends {
 public:
  explicit Ends(int domain) {
    if (domain == AF_UNIX) {
      int both[2];
      EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, both), 0);
      server = both[0];
      client = both[1];
      return;
    }
    auto listener = Listener::Bind(*Address::Parse("127.0.0.1:0"));
    sockaddr_storage name{};
    socklen_t size = sizeof(name);
    getsockname(listener->fd(), reinterpret_cast<sockaddr*>(&name), &size);
    client = socket(AF_INET, SOCK_STREAM, 0);
    EXPECT_EQ(connect(client, reinterpret_cast<sockaddr*>(&name), size), 0);
    server = accept(listener->fd(), nullptr, nullptr);
  }
  ~Ends() { close(client); }

  int server = -1;
  int client = -1;
};

class LingerTest : public testing::TestWithParam<int> {};

// As gRPC ends a connection while its client is just sending.
TEST_P(LingerTest, WhatWasWrittenIsReadThoughTheClientGoesOnSending) {
  Ends ends(GetParam());
  Connections connections;
  connections.Add(ends.server);
  std::atomic<int> closed{0};
  {
    Lingering lingering(connections, [&] { ++closed; });
    lingering.Begin();
    ASSERT_EQ(send(ends.client, "request", 7, 0), 7);
    ASSERT_EQ(send(ends.server, "goaway", 6, 0), 6);
    shutdown(ends.server, SHUT_RDWR);
    ASSERT_EQ(close(ends.server), 0);
    EXPECT_EQ(closed, 1);
    EXPECT_EQ(connections.Count(), 0u);
    for (int i = 0; i < 10; ++i) {
      ASSERT_EQ(send(ends.client, "late", 4, MSG_NOSIGNAL), 4) << strerror(errno);
    }
    char text[16];
    ASSERT_EQ(recv(ends.client, text, sizeof(text), MSG_WAITALL), 6);
    EXPECT_EQ(std::string(text, 6), "goaway");
    EXPECT_EQ(recv(ends.client, text, sizeof(text), 0), 0) << "then the end, and no reset";
    shutdown(ends.client, SHUT_WR);
  }
  EXPECT_EQ(fcntl(ends.server, F_GETFD), -1) << "and it is gone";
}

TEST_P(LingerTest, TheClientMayAnswerWhatItReadLastBeforeTheEnd) {
  for (int tries = 0; tries < 100; ++tries) {  // on a busy machine it may be late for one
    Ends ends(GetParam());
    Connections connections;
    connections.Add(ends.server);
    Lingering lingering(connections, [] {});
    lingering.Begin();
    lingering.Limit(kForever, {});
    ASSERT_EQ(send(ends.server, "goaway", 6, 0), 6);
    shutdown(ends.server, SHUT_RDWR);
    ASSERT_EQ(close(ends.server), 0);
    const auto ended = [&ends] {
      pollfd client{ends.client, POLLRDHUP, 0};
      return poll(&client, 1, 0) > 0;
    };
    for (int i = 0; i < 20 && !ended(); ++i) {  // more than is read before anything else is done
      ASSERT_EQ(send(ends.client, "answer", 6, MSG_NOSIGNAL), 6) << strerror(errno);
      for (int unread = 6; unread > 0 && !ended();) ioctl(ends.server, FIONREAD, &unread);
    }
    const bool in_time = !ended();
    shutdown(ends.client, SHUT_WR);
    if (in_time) return;
  }
  FAIL() << "whatever it says, the end comes before";
}

TEST_P(LingerTest, OthersCloseAsEver) {
  Ends ends(GetParam());
  Connections connections;
  Lingering lingering(connections, [] { FAIL(); });
  lingering.Begin();
  shutdown(ends.server, SHUT_RDWR);
  ASSERT_EQ(close(ends.server), 0);
  EXPECT_EQ(fcntl(ends.server, F_GETFD), -1);
}

// As one does that is about to execute another program.
TEST_P(LingerTest, AForkedChildClosesNothingButItsCopies) {
  Ends ends(GetParam());
  Connections connections;
  connections.Add(ends.server);
  Lingering lingering(connections, [] { FAIL(); });
  lingering.Begin();
  const pid_t child = fork();
  if (child == 0) {
    shutdown(99999, SHUT_RDWR);
    _exit(close(ends.server) == 0 && fcntl(ends.server, F_GETFD) == -1 ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  char text[1];
  EXPECT_EQ(recv(ends.client, text, sizeof(text), MSG_DONTWAIT), -1);
  EXPECT_EQ(errno, EAGAIN) << "the connection lives on";
  EXPECT_EQ(connections.Count(), 1u);
  connections.Forget(ends.server);
  close(ends.server);
}

TEST_P(LingerTest, WhatIsMutedIsNotHeardUntilItIsUnmuted) {
  Ends ends(GetParam());
  const UniqueFd epoll(epoll_create1(EPOLL_CLOEXEC));
  epoll_event event{.events = EPOLLIN | EPOLLET, .data = {.u64 = 42}};
  ASSERT_EQ(epoll_ctl(epoll.get(), EPOLL_CTL_ADD, ends.server, &event), 0);
  Connections connections;
  connections.Add(ends.server);
  Lingering lingering(connections, [] {});
  lingering.Begin();
  const auto heard = [&] {
    event = {};
    return epoll_wait(epoll.get(), &event, 1, 0) == 1;
  };
  lingering.Mute();
  ASSERT_EQ(send(ends.client, "request", 7, 0), 7);
  EXPECT_FALSE(heard());
  lingering.Unmute();
  EXPECT_TRUE(heard());
  EXPECT_EQ(event.data.u64, 42u) << "as it was";
  connections.Forget(ends.server);
  close(ends.server);
}

// Connections may be what used the descriptors up.
TEST_P(LingerTest, ItTakesNoDescriptorWhenThereIsNoneLeft) {
  Ends ends(GetParam());
  const UniqueFd epoll(epoll_create1(EPOLL_CLOEXEC));
  epoll_event event{.events = EPOLLIN | EPOLLET, .data = {.u64 = 42}};
  ASSERT_EQ(epoll_ctl(epoll.get(), EPOLL_CTL_ADD, ends.server, &event), 0);
  Connections connections;
  connections.Add(ends.server);
  std::vector<UniqueFd> left;
  {
    Lingering lingering(connections, [] {});
    const NoMoreDescriptors none;
    EXPECT_EQ(connections.Count(), 1u) << "it lives, though it cannot be duplicated";
    EXPECT_EQ(connections.known(), 1u) << "nor is it forgotten";
    lingering.Begin();
    lingering.Mute();
    ASSERT_EQ(send(ends.client, "request", 7, 0), 7);
    EXPECT_EQ(epoll_wait(epoll.get(), &event, 1, 0), 0) << "it is muted";
    lingering.Limit(1ms, [&](std::vector<UniqueFd> all) { left = std::move(all); });
    ASSERT_EQ(close(ends.server), 0);
    EXPECT_EQ(connections.Count(), 0u);
  }
  EXPECT_EQ(left.size(), 1u) << "and it lingers";
}

TEST_P(LingerTest, WhoseTimeIsOverGoesToTheHeir) {
  Ends ends(GetParam());
  Connections connections;
  connections.Add(ends.server);
  std::vector<UniqueFd> left;
  {
    Lingering lingering(connections, [] {});
    lingering.Begin();
    lingering.Limit(1ms, [&](std::vector<UniqueFd> all) { left = std::move(all); });
    ASSERT_EQ(close(ends.server), 0);
  }
  ASSERT_EQ(left.size(), 1u);
  EXPECT_EQ(send(ends.client, "late", 4, MSG_NOSIGNAL), 4) << "it is open";
}

INSTANTIATE_TEST_SUITE_P(, LingerTest, testing::Values(AF_INET, AF_UNIX));

struct Way {
  const char* name;
  const char* address;
  std::optional<Duration> age = {};
  int callers = 4;
  int longest_pause_ms = 0;  // between calls; meanwhile a client does not look at its connection
};

void PrintTo(const Way& way, std::ostream* out) { *out << way.name; }

class RetirementTest : public testing::TestWithParam<Way> {
 protected:
  ~RetirementTest() override { std::filesystem::remove_all(folder_); }

  static std::filesystem::path MakeFolder() {
    std::string name = testing::TempDir() + "retire-XXXXXX";
    return mkdtemp(name.data());
  }

  std::unique_ptr<Server> StartServer(UniqueFd socket) {
    ServerOptions options;
    options.name = "test";
    options.listeners.emplace_back(std::move(socket), "shared");
    options.services = {&echo_};
    options.age = GetParam().age;
    options.warn = [this](const std::string& what) { warnings_ += what; };
    auto server = Server::Start(std::move(options), clock_, Termination());
    EXPECT_TRUE(server);
    (*server)->Accept(true);
    return std::move(*server);
  }

  // Keeps what is left behind.
  RetireOptions Replaced() {
    return {.leave = LeaveSpread::Within(kNever, kNever),
            .heir = [this](std::vector<UniqueFd> left) {
              std::move(left.begin(), left.end(), std::back_inserter(left_behind_));
            }};
  }

  const std::filesystem::path folder_ = MakeFolder();
  std::vector<UniqueFd> left_behind_;  // one server retires at a time
  const SteadyClock clock_;
  PlainEcho echo_;
  std::string warnings_;
};

// Servers that follow one another on one listening socket, under busy callers.
TEST_P(RetirementTest, NoCallIsLost) {
  std::string text = GetParam().address;
  if (text == "unix:") text += (folder_ / "s").string();
  auto listener = Listener::Bind(*Address::Parse(text));
  ASSERT_TRUE(listener) << listener.error().message;
  const auto copy = [&] { return UniqueFd(fcntl(listener->fd(), F_DUPFD_CLOEXEC, 0)); };
  auto server = StartServer(copy());
  EXPECT_EQ(warnings_.empty(), !GetParam().age) << warnings_;

  std::atomic<bool> over{false};
  std::atomic<int> answered{0}, lost{0};
  std::vector<std::jthread> callers;
  for (int i = 0; i < GetParam().callers; ++i) {
    callers.emplace_back([&, i, target = listener->address()] {
      grpc::ChannelArguments arguments;
      arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
      const auto stub = Echo::NewStub(
          grpc::CreateCustomChannel(target, grpc::InsecureChannelCredentials(), arguments));
      std::minstd_rand random(static_cast<unsigned>(i));
      const auto longest = static_cast<unsigned>(GetParam().longest_pause_ms) + 1;
      while (!over) {
        std::this_thread::sleep_for(std::chrono::milliseconds(random() % longest));
        grpc::ClientContext context;
        EchoReply reply;
        const grpc::Status status = stub->Unary(&context, EchoRequest(), &reply);
        ++(status.ok() ? answered : lost);
        EXPECT_TRUE(status.ok()) << status.error_code() << " " << status.error_message();
      }
    });
  }
  const int rounds = GetParam().age ? 2 : 10;
  for (int round = 0; round < rounds; ++round) {
    const int before = answered;
    while (answered < before + 20) std::this_thread::yield();
    auto next = StartServer(copy());
    server->Accept(false);
    Latch retired;
    server->BeginRetire(Replaced(), [&] { retired.Set(); });
    retired.Wait();
    EXPECT_EQ(server->CountConnections(), 0u);
    server = std::move(next);
  }
  over = true;
  callers.clear();
  EXPECT_EQ(lost, 0) << "of " << answered + lost;
}

// By hand, for the service's code is the library's own.
class HealthWatch {
 public:
  explicit HealthWatch(const std::string& target)
      : stub_(grpc::CreateChannel(target, grpc::InsecureChannelCredentials())) {
    call_ = stub_.PrepareCall(&context_, "/grpc.health.v1.Health/Watch", &queue_);
    call_->StartCall(this);
    EXPECT_TRUE(Await());
    const grpc::Slice nothing;
    call_->WriteLast(grpc::ByteBuffer(&nothing, 1), grpc::WriteOptions(), this);
    EXPECT_TRUE(Await());
    EXPECT_TRUE(Read());
  }

  bool Read() {
    grpc::ByteBuffer reply;
    call_->Read(&reply, this);
    return Await();
  }
  grpc::Status Finish() {
    grpc::Status status;
    call_->Finish(&status, this);
    Await();
    return status;
  }

 private:
  bool Await() {
    void* tag = nullptr;
    bool ok = false;
    return queue_.Next(&tag, &ok) && ok;
  }

  grpc::GenericStub stub_;
  grpc::ClientContext context_;
  grpc::CompletionQueue queue_;
  std::unique_ptr<grpc::GenericClientAsyncReaderWriter> call_;
};

// It ends by itself, not before its connection is sent away, and holds nothing up.
TEST_P(RetirementTest, AWatchEndsWhenItsConnectionHasBeenSentAway) {
  std::string text = GetParam().address;
  if (text == "unix:") text += (folder_ / "s").string();
  auto listener = Listener::Bind(*Address::Parse(text));
  ASSERT_TRUE(listener) << listener.error().message;
  Latch retired;  // outlives the thread that sets it
  auto server = StartServer(UniqueFd(fcntl(listener->fd(), F_DUPFD_CLOEXEC, 0)));
  HealthWatch watch(listener->address());
  const Instant began = clock_.Now();
  server->BeginRetire(Replaced(), [&] { retired.Set(); });
  EXPECT_FALSE(watch.Read());
  EXPECT_GE(clock_.Now() - began, GetParam().age.value_or(0s));
  EXPECT_EQ(watch.Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
  retired.Wait();
}

INSTANTIATE_TEST_SUITE_P(, RetirementTest,
                         testing::Values(Way{"Tcp", "127.0.0.1:0"}, Way{"Unix", "unix:"},
                                         Way{"TcpSparse", "127.0.0.1:0", {}, 32, 200},
                                         Way{"UnixSparse", "unix:", {}, 32, 200},
                                         Way{"TcpByAge", "127.0.0.1:0", 300ms},
                                         Way{"UnixByAge", "unix:", 300ms}),
                         [](const auto& param) { return param.param.name; });

}  // namespace
}  // namespace lastcall
