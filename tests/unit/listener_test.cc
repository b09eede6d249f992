// Listening TCP sockets: what they are, and when and how they are refused.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>

#include <lastcall/lifecycle/cause.h>
#include <lastcall/net/port_holder.h>

#include "listener_fixture.h"

namespace lastcall {
namespace {

using testing::AllOf;
using testing::EndsWith;
using testing::HasSubstr;
using testing::MatchesRegex;
using testing::StartsWith;

uint16_t PortOf(const Listener& listener) {
  return std::stoi(listener.address().substr(listener.address().rfind(':') + 1));
}

// Connects to `port` of the loopback address of `family`. 0, or errno.
int Connect(int family, uint16_t port) {
  const UniqueFd fd(socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd) return errno;
  sockaddr_in four{};
  four.sin_family = AF_INET;
  four.sin_port = htons(port);
  four.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  sockaddr_in6 six{};
  six.sin6_family = AF_INET6;
  six.sin6_port = htons(port);
  six.sin6_addr = in6addr_loopback;
  const int result = family == AF_INET
                         ? connect(fd.get(), reinterpret_cast<sockaddr*>(&four), sizeof(four))
                         : connect(fd.get(), reinterpret_cast<sockaddr*>(&six), sizeof(six));
  return result == 0 ? 0 : errno;
}

bool HasIpv6() {
  const auto probe = Listener::Bind(Parse("[::1]:0"));
  return probe.has_value();
}

TEST(TcpListenerTest, HasWhatItsHeaderPromises) {
  const auto listener = Listener::Bind(Parse("127.0.0.1:0"));
  ASSERT_TRUE(listener) << listener.error().message;
  const int fd = listener->fd();
  EXPECT_THAT(listener->address(), MatchesRegex("127\\.0\\.0\\.1:[1-9][0-9]*"));
  EXPECT_EQ(Option(fd, SOL_SOCKET, SO_ACCEPTCONN), 1);
  EXPECT_EQ(Option(fd, SOL_SOCKET, SO_REUSEADDR), 1);
  EXPECT_EQ(Option(fd, IPPROTO_TCP, TCP_NODELAY), 1);
  EXPECT_TRUE(fcntl(fd, F_GETFL) & O_NONBLOCK);
  EXPECT_TRUE(fcntl(fd, F_GETFD) & FD_CLOEXEC);
  EXPECT_EQ(Connect(AF_INET, PortOf(*listener)), 0);
}

TEST(TcpListenerTest, StarIsOneSocketForBothFamilies) {
  const auto listener = Listener::Bind(Parse("*:0"));
  ASSERT_TRUE(listener) << listener.error().message;
  EXPECT_EQ(Connect(AF_INET, PortOf(*listener)), 0);
  if (!HasIpv6()) GTEST_SKIP() << "this machine has no IPv6";
  EXPECT_THAT(listener->address(), StartsWith("[::]:"));
  EXPECT_EQ(Connect(AF_INET6, PortOf(*listener)), 0);
}

TEST(TcpListenerTest, AllOfIpv6LeavesIpv4ToOthers) {
  if (!HasIpv6()) GTEST_SKIP() << "this machine has no IPv6";
  const auto six = Listener::Bind(Parse("[::]:0"));
  ASSERT_TRUE(six) << six.error().message;
  const uint16_t port = PortOf(*six);
  EXPECT_EQ(Connect(AF_INET6, port), 0);
  EXPECT_EQ(Connect(AF_INET, port), ECONNREFUSED);
  const auto four = Listener::Bind(Parse("0.0.0.0:" + std::to_string(port)));
  EXPECT_TRUE(four) << four.error().message;
}

TEST(TcpListenerTest, LocalhostIsTheLoopbackWithoutAResolver) {
  const auto listener = Listener::Bind(Parse("localhost:0"));
  ASSERT_TRUE(listener) << listener.error().message;
  EXPECT_THAT(listener->address(), MatchesRegex("127\\.0\\.0\\.1:[1-9][0-9]*"));
}

TEST(TcpListenerTest, AddressInUseNamesItsHolder) {
  const auto first = Listener::Bind(Parse("127.0.0.1:0"));
  ASSERT_TRUE(first) << first.error().message;
  const auto second = Listener::Bind(Parse(first->address()));
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, Code::kAlreadyExists);
  EXPECT_THAT(
      second.error().message,
      AllOf(StartsWith("cannot listen on " + first->address() + ": the address is in use by "),
            HasSubstr(OwnName()), EndsWith("; stop that process, or choose another port")));
}

TEST(TcpListenerTest, HolderOnAllAddressesIsNamedToo) {
  const auto first = Listener::Bind(Parse("*:0"));
  ASSERT_TRUE(first) << first.error().message;
  const auto second = Listener::Bind(Parse("127.0.0.1:" + std::to_string(PortOf(*first))));
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, Code::kAlreadyExists);
  EXPECT_THAT(second.error().message, HasSubstr(OwnName()));
}

TEST(PortHolderTest, NamesWhoListensOnThatPortAlone) {
  const auto listener = Listener::Bind(Parse("127.0.0.1:0"));
  ASSERT_TRUE(listener) << listener.error().message;
  EXPECT_THAT(HolderOfPort(PortOf(*listener)), EndsWith(OwnName()));
  // A port that is taken, so that nobody else listens there meanwhile, by a socket that does not.
  const UniqueFd idle(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in name{};
  name.sin_family = AF_INET;
  name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(name);
  ASSERT_EQ(bind(idle.get(), reinterpret_cast<sockaddr*>(&name), size), 0);
  ASSERT_EQ(getsockname(idle.get(), reinterpret_cast<sockaddr*>(&name), &size), 0);
  EXPECT_EQ(HolderOfPort(ntohs(name.sin_port)), "");
}

// Both ends of a connection over loopback whose client has a port of the kernel's choice.
class Outgoing {
 public:
  explicit Outgoing(const std::string& server)
      : listener_(Listener::Bind(Parse(server + ":0"))),
        family_(server.starts_with("[") ? AF_INET6 : AF_INET),
        client_(socket(family_, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_storage name{};
    socklen_t size = sizeof(name);
    auto* const generic = reinterpret_cast<sockaddr*>(&name);
    if (!listener_ || getsockname(listener_->fd(), generic, &size) != 0 ||
        connect(client_.get(), generic, size) != 0) {
      ADD_FAILURE() << "cannot connect: " << strerror(errno);
      return;
    }
    size = sizeof(name);
    getsockname(client_.get(), generic, &size);
    // In the same place of both families.
    port_ = ntohs(reinterpret_cast<sockaddr_in*>(&name)->sin_port);
    accepted_.Reset(accept(listener_->fd(), nullptr, nullptr));
  }

  uint16_t port() const { return port_; }
  uint16_t server_port() const { return PortOf(*listener_); }
  // The client closes first, so that its end stays in TIME_WAIT.
  void Close() {
    client_.Reset();
    accepted_.Reset();
  }

 private:
  Result<Listener> listener_;
  const int family_;
  UniqueFd client_;
  UniqueFd accepted_;
  uint16_t port_ = 0;
};

TEST(TcpListenerTest, PortOfAnOutgoingConnectionIsSaidToBeSo) {
  for (const std::string host : {"127.0.0.1", "[::1]"}) {
    SCOPED_TRACE(host);
    Outgoing outgoing(host);
    const std::string address = host + ":" + std::to_string(outgoing.port());
    const std::string ends =
        "from " + address + " to " + host + ":" + std::to_string(outgoing.server_port());
    for (const bool over : {false, true}) {
      if (over) outgoing.Close();
      const auto refused = Listener::Bind(Parse(address));
      ASSERT_FALSE(refused);
      EXPECT_EQ(refused.error().code, Code::kAlreadyExists);
      const std::string who =
          over ? "a connection " : "a connection of " + CommandOf(getpid()) + " " + OwnName() + " ";
      EXPECT_EQ(refused.error().message,
                "cannot listen on " + address + ": the address is in use by " + who + ends +
                    ", for the kernel may give this port to any outgoing one; wait until that is "
                    "over, choose a port outside of net.ipv4.ip_local_port_range, or add " +
                    std::to_string(outgoing.port()) +
                    " to net.ipv4.ip_local_reserved_ports (sysctl)");
    }
  }
}

TEST(TcpListenerTest, PortIsFreeAgainAtOnce) {
  auto first = Listener::Bind(Parse("127.0.0.1:0"));
  ASSERT_TRUE(first) << first.error().message;
  const std::string address = first->address();
  // A connection that we close first stays in TIME_WAIT.
  const UniqueFd client(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in name{};
  name.sin_family = AF_INET;
  name.sin_port = htons(PortOf(*first));
  name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ASSERT_EQ(connect(client.get(), reinterpret_cast<sockaddr*>(&name), sizeof(name)), 0);
  UniqueFd(accept(first->fd(), nullptr, nullptr)).Reset();
  first->Release().Reset();
  const auto second = Listener::Bind(Parse(address));
  EXPECT_TRUE(second) << second.error().message;
}

TEST(TcpListenerTest, AddressOfAnotherMachineIsRefused) {
  const auto listener = Listener::Bind(Parse("192.0.2.1:0"));  // for documentation, RFC 5737
  ASSERT_FALSE(listener);
  EXPECT_EQ(listener.error().code, Code::kInvalidArgument);
  EXPECT_EQ(listener.error().message,
            "cannot listen on 192.0.2.1:0: this machine has no such address; choose one that `ip "
            "address` shows, or \"*\" for all");
}

TEST(TcpListenerTest, LowPortNeedsACapability) {
  int first_free = 0;
  std::ifstream("/proc/sys/net/ipv4/ip_unprivileged_port_start") >> first_free;
  if (first_free < 2) GTEST_SKIP() << "every port is free for all here";
  const Unprivileged nobody;
  const auto listener = Listener::Bind(Parse("127.0.0.1:1"));
  ASSERT_FALSE(listener);
  EXPECT_EQ(listener.error().code, Code::kPermissionDenied);
  EXPECT_EQ(listener.error().message,
            "cannot listen on 127.0.0.1:1: ports below 1024 need the capability "
            "CAP_NET_BIND_SERVICE; grant it (AmbientCapabilities= in the unit), or choose another "
            "port");
}

TEST(TcpListenerTest, UnknownNameIsRefused) {
  // A name that is none anywhere, so that nobody is asked: a label has 63 letters at most.
  const std::string name(64, 'x');
  const auto listener = Listener::Bind(Parse(name + ":0"));
  ASSERT_FALSE(listener);
  EXPECT_THAT(listener.error().message, AllOf(StartsWith("cannot listen on " + name + ":0: "),
                                              EndsWith("write the address itself")));
}

TEST(TcpListenerTest, KnowsWhoseClientsAnAddressWouldHave) {
  using Reach = Listener::Reach;
  const struct {
    const char* held;
    const char* asked;
    Reach reach;
  } rows[] = {
      {"127.0.0.1", "127.0.0.1", Reach::kSame},
      {"127.0.0.1", "localhost", Reach::kSame},
      {"127.0.0.1", "0.0.0.0", Reach::kWider},
      {"127.0.0.1", "*", Reach::kWider},
      {"127.0.0.1", "127.0.0.2", Reach::kApart},
      {"127.0.0.1", "[::1]", Reach::kApart},
      {"127.0.0.1", "[::]", Reach::kApart},
      {"0.0.0.0", "0.0.0.0", Reach::kSame},
      {"0.0.0.0", "127.0.0.1", Reach::kOther},
      {"0.0.0.0", "*", Reach::kWider},
      {"0.0.0.0", "[::]", Reach::kApart},
      {"[::1]", "[0:0:0:0:0:0:0:1]", Reach::kSame},
      {"[::1]", "[::]", Reach::kWider},
      {"[::]", "*", Reach::kWider},
      {"[::]", "[::1]", Reach::kOther},
      {"[::]", "0.0.0.0", Reach::kApart},
      {"*", "*", Reach::kSame},
      {"*", "[::]", Reach::kOther},
      {"*", "0.0.0.0", Reach::kOther},
  };
  for (const auto& row : rows) {
    if (!HasIpv6() && row.held[0] != '1' && row.held[0] != '0') continue;
    const auto held = Listener::Bind(Parse(std::string(row.held) + ":0"));
    ASSERT_TRUE(held) << held.error().message;
    const uint16_t port = PortOf(*held);
    const auto reach = [&](uint16_t of) {
      return held->ReachOf(Parse(std::string(row.asked) + ":" + std::to_string(of)));
    };
    EXPECT_EQ(reach(port), row.reach) << row.held << " and " << row.asked;
    EXPECT_EQ(reach(static_cast<uint16_t>(port ^ 1)), Reach::kApart);
  }
}

TEST(TcpListenerTest, AWiderOneStandsBesideThoseThatItCoversAndNobodyElseDoes) {
  const auto narrow = Listener::Bind(Parse("127.0.0.1:0"));
  ASSERT_TRUE(narrow);
  const Address wide = Parse("0.0.0.0:" + std::to_string(PortOf(*narrow)));
  EXPECT_FALSE(Listener::Bind(wide));
  EXPECT_TRUE(Listener::Probe(wide, {&*narrow}));
  EXPECT_FALSE(Listener::Probe(wide, {}));
  const auto both = Listener::Bind(wide, {&*narrow});
  ASSERT_TRUE(both) << both.error().message;
  EXPECT_EQ(Option(narrow->fd(), SOL_SOCKET, SO_REUSEPORT), 0);
  EXPECT_EQ(Option(both->fd(), SOL_SOCKET, SO_REUSEPORT), 0);
  // Clients of the narrow one still meet it.
  EXPECT_EQ(Connect(AF_INET, PortOf(*narrow)), 0);
  EXPECT_GE(UniqueFd(accept4(narrow->fd(), nullptr, nullptr, SOCK_CLOEXEC)).get(), 0);
  EXPECT_LT(UniqueFd(accept4(both->fd(), nullptr, nullptr, SOCK_CLOEXEC)).get(), 0);
}

TEST(TcpListenerTest, ListensAgainAfterAShutdownWhoeverSharesIt) {
  std::string address = "127.0.0.1:0";
  for (int i = 0; i < 2; ++i) {  // a port that the kernel chose, and one that was asked for
    const auto listener = Listener::Bind(Parse(address));
    ASSERT_TRUE(listener);
    address = listener->address();
    EXPECT_EQ(listener->fault(), Listener::Fault::kNone);
    const UniqueFd shared(fcntl(listener->fd(), F_DUPFD_CLOEXEC, 0));
    shutdown(shared.get(), SHUT_RDWR);
    EXPECT_EQ(listener->fault(), Listener::Fault::kShutDown);
    EXPECT_NE(Connect(AF_INET, PortOf(*listener)), 0);
    EXPECT_TRUE(listener->ListenAgain());
    EXPECT_EQ(listener->fault(), Listener::Fault::kNone);
    EXPECT_EQ(Connect(AF_INET, PortOf(*listener)), 0);
    EXPECT_GE(UniqueFd(accept4(shared.get(), nullptr, nullptr, SOCK_CLOEXEC)).get(), 0);
  }
}

TEST(TcpListenerTest, WhoeverWasHeldOffIsNotWhereItListensAgain) {
  const auto listener = Listener::Bind(Parse("127.0.0.1:0"));
  ASSERT_TRUE(listener);
  listener->HoldOff();
  listener->EndListening();
  ASSERT_TRUE(listener->ListenAgain());
  const UniqueFd client(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  sockaddr_in name{};
  name.sin_family = AF_INET;
  name.sin_port = htons(static_cast<in_port_t>(PortOf(*listener)));
  name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  connect(client.get(), reinterpret_cast<sockaddr*>(&name), sizeof(name));
  pollfd queue{listener->fd(), POLLIN, 0};
  EXPECT_EQ(poll(&queue, 1, 10'000), 1);
}

}  // namespace
}  // namespace lastcall
