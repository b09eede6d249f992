// Accepting from shared listening sockets: real ones, on the loopback device.
#include "lastcall/net/acceptor.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <string>
#include <thread>
#include <utility>

#include <lastcall/testing/fake_clock.h>

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

  Listener Copy(const std::string& address = "") const {
    return Listener(UniqueFd(fcntl(fd_.get(), F_DUPFD_CLOEXEC, 0)), address);
  }
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
  // From here on only those listen who have a copy.
  void Close() { fd_.Reset(); }
  bool AnybodyListens() {
    const UniqueFd client(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    return connect(client.get(), Address(), sizeof(address_)) == 0;
  }

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
    MakeWith(std::move(listeners));
  }
  void MakeWith(std::vector<Listener> listeners) {
    acceptor_.emplace(
        std::move(listeners),
        Acceptor::Callbacks{
            [this](size_t listener, UniqueFd connection) {
              accepted_.Post({listener, std::make_shared<UniqueFd>(std::move(connection))});
            },
            [this] {
              const bool room = has_room_;
              asked_.Post(room ? 1 : 0);
              return room;
            },
            [this](const std::string& warning) { warnings_.Post(warning); }},
        clock_);
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

  // With a callback of the test's own, and both ports.
  void MakeWith(std::function<void(size_t, UniqueFd)> accepted) {
    std::vector<Listener> listeners;
    listeners.push_back(one_.Copy());
    listeners.push_back(two_.Copy());
    acceptor_.emplace(
        std::move(listeners),
        Acceptor::Callbacks{std::move(accepted), [] { return true; }, [](const std::string&) {}},
        clock_);
  }

  Port one_, two_;
  FakeClock clock_;
  std::atomic<bool> has_room_{true};
  Inbox<Accepted> accepted_;
  Inbox<int> asked_;  // whether there is room: 1, there is
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
  MakeWith([&](size_t, UniqueFd) {
    handing_over = true;
    entered.Set();
    release.Wait();
    handing_over = false;
  });
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

// However many wait: each may cost a look at thousands of connections.
TEST_F(AcceptorTest, PauseWaitsForNoOtherThanThat) {
  std::atomic<int> accepted{0};
  Latch entered, release;
  MakeWith([&](size_t, UniqueFd) {
    ++accepted;
    entered.Set();
    release.Wait();
  });
  const UniqueFd first = one_.Connect(), second = one_.Connect();
  acceptor_->Resume();
  entered.Wait();
  std::atomic<pid_t> pausing{0};
  std::jthread pauser([&] {
    pausing = gettid();
    acceptor_->Pause();
  });
  AwaitAsleep(pausing);
  release.Set();
  pauser.join();
  EXPECT_EQ(accepted, 1);
  EXPECT_TRUE(one_.Accept());
  acceptor_.reset();
}

TEST_F(AcceptorTest, AtLastCallThoseComeInWhoWait) {
  Latch entered, release;
  MakeWith([&](size_t listener, UniqueFd connection) {
    accepted_.Post({listener, std::make_shared<UniqueFd>(std::move(connection))});
    entered.Set();
    release.Wait();
  });
  const UniqueFd before = one_.Connect();
  acceptor_->Resume();
  entered.Wait();
  const UniqueFd first = one_.Connect(), second = two_.Connect(), third = one_.Connect();
  EXPECT_TRUE(one_.AwaitClient());
  EXPECT_TRUE(two_.AwaitClient());
  acceptor_->BeginEnd(true);
  EXPECT_FALSE(acceptor_->accepting());
  release.Set();
  acceptor_->AwaitEnd();
  EXPECT_TRUE(acceptor_->ended());
  for (int i = 0; i < 4; ++i) Next();
  acceptor_->Resume();  // it is over
  const UniqueFd late = one_.Connect();
  EXPECT_TRUE(one_.Accept());
  EXPECT_TRUE(NoneWasAccepted());
}

TEST_F(AcceptorTest, WithoutLastCallOrWherePausedTheyAreLeftToOthers) {
  for (const bool last_call : {false, true}) {
    Make();
    const UniqueFd client = one_.Connect();
    acceptor_->BeginEnd(last_call);
    acceptor_->AwaitEnd();
    EXPECT_TRUE(one_.Accept());
    EXPECT_TRUE(NoneWasAccepted());
  }
}

// Whoever comes back at once fills the queue for ever.
TEST_F(AcceptorTest, LastCallIsBoundedInTime) {
  std::vector<UniqueFd> clients;
  int flooded = 0;
  bool other = false;
  Latch began, ending;
  MakeWith([&](size_t listener, UniqueFd) {
    began.Set();
    ending.Wait();
    if (listener == 1) {
      other = true;
      return;
    }
    ++flooded;
    clock_.Advance(Acceptor::kLastCall / 200);
    clients.push_back(one_.Connect());
    EXPECT_TRUE(one_.AwaitClient());
  });
  clients.push_back(one_.Connect());
  acceptor_->Resume();
  began.Wait();
  clients.push_back(two_.Connect());
  EXPECT_TRUE(two_.AwaitClient());
  acceptor_->BeginEnd(true);
  ending.Set();
  acceptor_->AwaitEnd();
  EXPECT_LE(flooded, 201);
  EXPECT_GT(flooded, 100) << "some time was given";
  EXPECT_TRUE(other) << "a flood of one socket starves no other";
}

TEST_F(AcceptorTest, LastCallHoldsNobodyWhoAsksForItAndCanBeCutShort) {
  std::vector<UniqueFd> clients;
  int accepted = 0;
  Latch entered, release;
  MakeWith([&](size_t, UniqueFd) {
    ++accepted;
    entered.Set();
    release.Wait();
  });
  for (int i = 0; i < 3; ++i) clients.push_back(one_.Connect());
  acceptor_->Resume();
  entered.Wait();
  acceptor_->BeginEnd(true);  // while somebody is being taken in
  EXPECT_FALSE(acceptor_->ended());
  acceptor_->BeginEnd(false);
  release.Set();
  acceptor_->AwaitEnd();
  EXPECT_EQ(accepted, 1);
}

TEST_F(AcceptorTest, WhatHasEndedListensNoMore) {
  acceptor_->Resume();
  two_.Close();
  EXPECT_TRUE(two_.AnybodyListens());
  acceptor_->BeginEnd(true);
  acceptor_->AwaitEnd();
  EXPECT_FALSE(two_.AnybodyListens());
}

// One of them is to be served by others, who have a copy; of a process that was replaced, which is
// paused by then.
TEST_F(AcceptorTest, OnlyWhereNobodyWillServeThereIsALastCallAndNoMoreAfterIt) {
  std::vector<Listener> listeners;
  listeners.push_back(one_.Copy("served"));
  listeners.push_back(two_.Copy("unserved"));
  MakeWith(std::move(listeners));
  const UniqueFd served = one_.Connect(), unserved = two_.Connect();
  EXPECT_TRUE(two_.AwaitClient());
  acceptor_->BeginEnd(false, {"unserved"});
  acceptor_->AwaitEnd();
  EXPECT_EQ(Next().listener, 1u);
  EXPECT_TRUE(NoneWasAccepted());
  EXPECT_TRUE(one_.Accept());
  EXPECT_TRUE(one_.AnybodyListens());
  EXPECT_FALSE(two_.AnybodyListens());
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
  // Asked for a second one, it finds that there is none.
  for (int asked = 0; asked < 2;) asked += *asked_.TakeUntil(kNever);
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
