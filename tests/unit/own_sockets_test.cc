// How listening sockets of our own end: newcomers are refused, whoever has a copy.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <lastcall/net/acceptor.h>
#include <lastcall/testing/fake_clock.h>

#include "lastcall/event/latch.h"
#include "temp_folder.h"

namespace lastcall {
namespace {

// Our own sockets, of which somebody has copies: a host that hangs, what a plugin has forked.
class OwnSocketsTest : public testing::Test {
 protected:
  void Make() {
    std::vector<Listener> listeners;
    for (const std::string& address : {std::string("127.0.0.1:0"), "unix:" + path_}) {
      auto made = Listener::Bind(*Address::Parse(address));
      ASSERT_TRUE(made) << made.error().message;
      copies_.emplace_back(fcntl(made->fd(), F_DUPFD_CLOEXEC, 0));
      listeners.push_back(std::move(*made));
    }
    tcp_ = listeners[0].address();
    acceptor_.emplace(std::move(listeners),
                      Acceptor::Callbacks{[this](size_t listener, UniqueFd connection) {
                                            if (accepted_)
                                              accepted_(listener, std::move(connection));
                                          },
                                          [] { return true; }, [](const std::string&) {}},
                      clock_);
  }

  // A client that does not wait, and what connect(2) said: 0, EINPROGRESS, or why not.
  std::pair<UniqueFd, int> Knock(size_t listener) {
    sockaddr_storage name{};
    socklen_t size = sizeof(sockaddr_un);
    if (listener == 0) {
      auto& tcp = reinterpret_cast<sockaddr_in&>(name);
      tcp.sin_family = AF_INET;
      tcp.sin_port = htons(static_cast<in_port_t>(std::stoi(tcp_.substr(tcp_.rfind(':') + 1))));
      tcp.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
      size = sizeof(tcp);
    } else {
      auto& on_path = reinterpret_cast<sockaddr_un&>(name);
      on_path.sun_family = AF_UNIX;
      path_.copy(on_path.sun_path, sizeof(on_path.sun_path) - 1);
    }
    UniqueFd client(socket(name.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    const int done = connect(client.get(), reinterpret_cast<sockaddr*>(&name), size);
    return {std::move(client), done == 0 ? 0 : errno};
  }
  void AwaitClient(size_t listener) {
    pollfd queue{copies_[listener].get(), POLLIN, 0};
    EXPECT_EQ(poll(&queue, 1, 10'000), 1);
  }
  // Of one that was EINPROGRESS: what became of it.
  static int Outcome(const UniqueFd& client) {
    pollfd one{client.get(), POLLOUT, 0};
    poll(&one, 1, 60'000);
    int error = 0;
    socklen_t size = sizeof(error);
    getsockopt(client.get(), SOL_SOCKET, SO_ERROR, &error, &size);
    return error;
  }
  // The path is gone too.
  static int Refused(size_t listener) { return listener == 0 ? ECONNREFUSED : ENOENT; }
  static bool Established(const UniqueFd& client) {
    pollfd one{client.get(), POLLOUT, 0};
    return poll(&one, 1, 0) == 1;
  }

  const TempFolder folder_;
  const std::string path_ = folder_ / "own.sock";
  FakeClock clock_;
  std::function<void(size_t, UniqueFd)> accepted_;
  std::string tcp_;
  std::vector<UniqueFd> copies_;
  std::optional<Acceptor> acceptor_;
};

TEST_F(OwnSocketsTest, AfterTheEndNewcomersAreRefusedWhoeverHasACopy) {
  for (const bool accepting : {false, true}) {
    Make();
    if (accepting) acceptor_->Resume();
    acceptor_->BeginEnd(true);
    acceptor_->AwaitEnd();
    for (const size_t listener : {0u, 1u}) {
      const auto [client, error] = Knock(listener);
      EXPECT_EQ(error == EINPROGRESS ? Outcome(client) : error, Refused(listener)) << listener;
    }
    acceptor_.reset();
    copies_.clear();
  }
}

// Who came in between would be cut off with what he has said already.
TEST_F(OwnSocketsTest, DuringALastCallNobodyJoinsTheQueue) {
  Make();
  std::vector<UniqueFd> in, late;
  std::vector<int> said;
  Latch entered, ending;
  accepted_ = [&](size_t, UniqueFd connection) {
    in.push_back(std::move(connection));
    entered.Set();
    ending.Wait();
    if (in.size() == 1) return;  // it was not over yet
    for (const size_t listener : {0u, 1u}) {
      auto [client, error] = Knock(listener);
      EXPECT_FALSE(listener == 0 && Established(client));
      said.push_back(error);
      late.push_back(std::move(client));
    }
  };
  const auto before = Knock(0);
  acceptor_->Resume();
  entered.Wait();
  const auto waiting = Knock(0), on_path = Knock(1);
  AwaitClient(0);
  AwaitClient(1);
  acceptor_->BeginEnd(true);
  ending.Set();
  acceptor_->AwaitEnd();
  EXPECT_EQ(in.size(), 3u) << "who waited came in, nobody else";
  EXPECT_EQ(said, (std::vector<int>{EINPROGRESS, ENOENT, EINPROGRESS, ENOENT}));
  EXPECT_EQ(Outcome(late[0]), ECONNREFUSED);
}

}  // namespace
}  // namespace lastcall
