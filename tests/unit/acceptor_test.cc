// Accepting from shared listening sockets: real ones, on the loopback device.
#include "lastcall/rpc/acceptor.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <string>
#include <thread>

#include "await_asleep.h"
#include "lastcall/event/inbox.h"
#include "lastcall/event/latch.h"
#include "no_more.h"

namespace lastcall {
namespace {

using namespace std::chrono_literals;

// A listening socket on a free port, with a copy of it for whoever else accepts there.
class Port {
 public:
  Port() : fd_(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)) {
    socklen_t size = sizeof(address_);
    address_.sin_family = AF_INET;
    address_.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(bind(fd_.get(), Address(), size), 0);
    EXPECT_EQ(listen(fd_.get(), 128), 0);
    EXPECT_EQ(getsockname(fd_.get(), Address(), &size), 0);
  }

  Listener Copy() const { return Listener(UniqueFd(fcntl(fd_.get(), F_DUPFD_CLOEXEC, 0)), ""); }
  // A client; where the machine is busy it is in the queue a moment after this returns.
  UniqueFd Connect() {
    UniqueFd client(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    EXPECT_EQ(connect(client.get(), Address(), sizeof(address_)), 0);
    return client;
  }
  // False: for some seconds nobody was in the queue.
  bool AwaitClient() {
    pollfd queue{fd_.get(), POLLIN, 0};
    return poll(&queue, 1, 10'000) == 1;
  }
  // Takes one from the queue as another process would; empty: there is none.
  UniqueFd Accept() {
    AwaitClient();
    return UniqueFd(accept4(fd_.get(), nullptr, nullptr, SOCK_CLOEXEC));
  }
  void ShutDown() { shutdown(fd_.get(), SHUT_RD); }

 private:
  sockaddr* Address() { return reinterpret_cast<sockaddr*>(&address_); }

  sockaddr_in address_{};
  UniqueFd fd_;
};

class AcceptorTest : public testing::Test {
 protected:
  struct Accepted {
    size_t listener;
    std::shared_ptr<UniqueFd> connection;
  };

  void Make() {
    std::vector<Listener> listeners;
    listeners.push_back(one_.Copy());
    listeners.push_back(two_.Copy());
    acceptor_.emplace(
        std::move(listeners),
        Acceptor::Callbacks{
            [this](size_t listener, UniqueFd connection) {
              accepted_.Post({listener, std::make_shared<UniqueFd>(std::move(connection))});
            },
            [this] {
              asked_.Post(0);
              return has_room_.load();
            },
            [this](const std::string& warning) { warnings_.Post(warning); }});
  }
  void SetUp() override { Make(); }

  Accepted Next() { return *accepted_.TakeUntil(kNever); }
  bool NoneWasAccepted() { return !accepted_.TakeUntil(Instant{}); }
  std::string NextWarning() { return *warnings_.TakeUntil(kNever); }
  bool NoWarning() { return !warnings_.TakeUntil(Instant{}); }
  void AwaitAsked(int times) {
    while (asked_.TakeUntil(Instant{})) {
    }
    for (int i = 0; i < times; ++i) asked_.TakeUntil(kNever);
  }

  Port one_, two_;
  std::atomic<bool> has_room_{true};
  Inbox<Accepted> accepted_;
  Inbox<int> asked_;  // whether there is room
  Inbox<std::string> warnings_;
  std::optional<Acceptor> acceptor_;
};

TEST_F(AcceptorTest, WhatComesBeforeItAcceptsWaitsInTheQueue) {
  EXPECT_FALSE(acceptor_->accepting());
  const UniqueFd client = one_.Connect();
  EXPECT_TRUE(NoneWasAccepted());
  acceptor_->Resume();
  EXPECT_TRUE(acceptor_->accepting());
  EXPECT_EQ(Next().listener, 0u);
}

TEST_F(AcceptorTest, SaysOfWhichSocketAConnectionIs) {
  acceptor_->Resume();
  const UniqueFd second = two_.Connect();
  EXPECT_EQ(Next().listener, 1u);
  const UniqueFd first = one_.Connect();
  EXPECT_EQ(Next().listener, 0u);
}

TEST_F(AcceptorTest, ConnectionsDoNotBlockAndAreNotInherited) {
  acceptor_->Resume();
  const UniqueFd client = one_.Connect();
  const Accepted accepted = Next();
  EXPECT_NE(fcntl(accepted.connection->get(), F_GETFL) & O_NONBLOCK, 0);
  EXPECT_NE(fcntl(accepted.connection->get(), F_GETFD) & FD_CLOEXEC, 0);
  EXPECT_EQ(send(client.get(), "x", 1, 0), 1);
}

TEST_F(AcceptorTest, WhilePausedOthersMayAcceptAndItDoesNot) {
  for (int round = 0; round < 50; ++round) {
    acceptor_->Resume();
    const UniqueFd ours = one_.Connect();
    Next();
    acceptor_->Pause();
    EXPECT_FALSE(acceptor_->accepting());
    const UniqueFd theirs = one_.Connect();
    EXPECT_TRUE(one_.Accept());
    EXPECT_TRUE(NoneWasAccepted());
  }
}

TEST_F(AcceptorTest, PauseWaitsForAConnectionThatIsBeingHandedOver) {
  std::atomic<bool> handing_over{false};
  Latch entered, release;
  std::vector<Listener> listeners;
  listeners.push_back(one_.Copy());
  acceptor_.emplace(std::move(listeners),
                    Acceptor::Callbacks{[&](size_t, UniqueFd) {
                                          handing_over = true;
                                          entered.Set();
                                          release.Wait();
                                          handing_over = false;
                                        },
                                        [] { return true; }, [](const std::string&) {}});
  acceptor_->Resume();
  const UniqueFd client = one_.Connect();
  entered.Wait();
  std::atomic<pid_t> pausing{0};
  std::jthread pauser([&] {
    pausing = gettid();
    acceptor_->Pause();
    EXPECT_FALSE(handing_over);
  });
  AwaitAsleep(pausing);
  release.Set();
  pauser.join();
  acceptor_.reset();
}

TEST_F(AcceptorTest, ManyConnectionsOnOneSocketDoNotStarveTheOther) {
  std::vector<UniqueFd> clients;
  for (int i = 0; i < 100; ++i) clients.push_back(one_.Connect());
  clients.push_back(two_.Connect());
  EXPECT_TRUE(two_.AwaitClient());
  acceptor_->Resume();
  int before = 0;
  while (Next().listener == 0) ++before;
  EXPECT_LT(before, 100);
  for (int i = before; i < 100; ++i) EXPECT_EQ(Next().listener, 0u);
}

TEST_F(AcceptorTest, WithoutRoomItWarnsOnceAndLeavesThemInTheQueue) {
  has_room_ = false;
  acceptor_->Resume();
  const UniqueFd client = one_.Connect();
  EXPECT_EQ(NextWarning(),
            "the limit of connections is reached; new connections wait in the kernel's queue");
  AwaitAsked(3);
  EXPECT_TRUE(NoWarning());
  EXPECT_TRUE(NoneWasAccepted());
  has_room_ = true;
  Next();
  acceptor_->Pause();
  has_room_ = false;
  acceptor_->Resume();
  const UniqueFd late = one_.Connect();
  NextWarning();  // the queue was empty since: that is news
}

TEST_F(AcceptorTest, OutOfDescriptorsItWarnsAndGoesOnWhenThereAreSome) {
  acceptor_->Resume();
  const UniqueFd client = one_.Connect();
  Next();
  acceptor_->Pause();
  {
    const UniqueFd waiting = one_.Connect();
    const NoMoreDescriptors none;
    acceptor_->Resume();
    EXPECT_EQ(NextWarning(),
              "cannot accept: Too many open files; new connections wait in the kernel's queue");
    AwaitAsked(2);
    EXPECT_TRUE(NoWarning());
    EXPECT_TRUE(NoneWasAccepted());
  }
  Next();
}

// Listening sockets are shared, with systemd too: whoever shuts one down does so for all.
TEST_F(AcceptorTest, ASocketThatWasShutDownCostsAWarningAndNoCpu) {
  acceptor_->Resume();
  two_.ShutDown();
  EXPECT_EQ(NextWarning(),
            "cannot accept: Invalid argument; new connections wait in the kernel's queue");
  const auto began = std::chrono::steady_clock::now();
  AwaitAsked(3);
  EXPECT_GE(std::chrono::steady_clock::now() - began, 150ms);  // 100 ms each but the first
  const UniqueFd client = one_.Connect();
  EXPECT_EQ(Next().listener, 0u);
}

TEST_F(AcceptorTest, EndsInEveryStateAndLeavesTheSocketToOthers) {
  acceptor_.reset();  // paused
  Make();
  acceptor_->Resume();
  acceptor_.reset();  // accepting
  Make();
  has_room_ = false;
  const UniqueFd client = one_.Connect();
  acceptor_->Resume();
  NextWarning();
  acceptor_.reset();  // backing off
  EXPECT_TRUE(one_.Accept());
}

TEST_F(AcceptorTest, PauseAndResumeFromManyThreadsEndWhereTheLastOneSaid) {
  const UniqueFd client = one_.Connect();
  for (int round = 0; round < 100; ++round) {
    const std::jthread a([&] { acceptor_->Resume(); });
    const std::jthread b([&] { acceptor_->Pause(); });
    const std::jthread c([&] { acceptor_->Resume(); });
  }
  acceptor_->Resume();
  Next();
  acceptor_->Pause();
  const UniqueFd late = one_.Connect();
  EXPECT_TRUE(one_.Accept());
}

}  // namespace
}  // namespace lastcall
