// Listening sockets that come to their end, on a loop that the test turns.
#include "daemon/setup/end_of_listening.h"

#include <gtest/gtest.h>
#include <linux/filter.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <memory>
#include <optional>
#include <string>

#include <boost/asio/post.hpp>

#include "listener_fixture.h"
#include "temp_folder.h"

namespace lastcall {
namespace {

using std::chrono::hours;
using Fault = Listener::Fault;

class EndOfListeningTest : public testing::Test {
 protected:
  using Shared = std::shared_ptr<const Listener>;

  static Shared Bind(const std::string& address) {
    auto listener = Listener::Bind(Parse(address));
    if (!listener) ADD_FAILURE() << listener.error().message;
    return listener ? std::make_shared<const Listener>(std::move(*listener)) : nullptr;
  }
  Shared Tcp() { return Bind("127.0.0.1:0"); }
  Shared Unix() { return Bind("unix:" + path_); }
  // One that was passed to this process.
  static Shared Systemd() {
    auto own = Listener::Bind(Parse("127.0.0.1:0"));
    return std::make_shared<const Listener>(own->Release());
  }
  // Over TCP: whether who begins a connection is kept out. The kernel has the filter's length.
  static bool HeldOff(const Shared& listener) {
    socklen_t instructions = 0;
    EXPECT_EQ(getsockopt(listener->fd(), SOL_SOCKET, SO_GET_FILTER, nullptr, &instructions), 0);
    return instructions > 0;
  }
  bool Connect(const UniqueFd& client) const {
    sockaddr_un name{};
    name.sun_family = AF_UNIX;
    std::memcpy(name.sun_path, path_.data(), path_.size());
    return connect(client.get(), reinterpret_cast<sockaddr*>(&name), sizeof(name)) == 0;
  }
  static UniqueFd Client() { return UniqueFd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)); }
  // All that is to happen by now.
  void Turn() {
    loop_.restart();
    loop_.poll();
  }
  // All that is to happen.
  void TurnToTheEnd() {
    loop_.restart();
    loop_.run();
  }

  TempFolder folder_;
  const std::string path_ = folder_ / "a.sock";
  boost::asio::io_context loop_;
  std::optional<EndOfListening> ending_{std::in_place, loop_};
};

TEST_F(EndOfListeningTest, TcpIsHeldOffAtOnceAndEndedAfterTheLastCall) {
  const Shared listener = Tcp();
  ending_->Begin({listener}, Duration::zero());
  EXPECT_TRUE(HeldOff(listener));
  EXPECT_EQ(listener->fault(), Fault::kNone) << "those who wait have a last call";
  TurnToTheEnd();
  EXPECT_EQ(listener->fault(), Fault::kShutDown);
}

TEST_F(EndOfListeningTest, WhoWaitsAtAUnixPathIsLetInUntilTheEnd) {
  const Shared listener = Unix();
  const UniqueFd first = Client(), second = Client();
  ASSERT_TRUE(Connect(first) && Connect(second));
  ending_->Begin({listener}, hours(1));
  EXPECT_NE(access(path_.c_str(), F_OK), 0);
  EXPECT_TRUE(UniqueFd(accept4(listener->fd(), nullptr, nullptr, SOCK_CLOEXEC)));
  Turn();
  char byte = 0;
  EXPECT_LT(recv(second.get(), &byte, 1, MSG_DONTWAIT), 0) << "it waits";
  ending_->End();
  EXPECT_EQ(recv(second.get(), &byte, 1, MSG_DONTWAIT), 0) << "it is cut off";
}

TEST_F(EndOfListeningTest, WhatIsDeferredIsServedUntilTheNextBeginning) {
  const Shared tcp = Tcp(), unix_path = Unix();
  ending_->Defer({tcp, unix_path});
  Turn();
  EXPECT_FALSE(HeldOff(tcp));
  EXPECT_TRUE(Connect(Client()));
  ending_->Begin({}, Duration::zero());
  EXPECT_TRUE(HeldOff(tcp));
  EXPECT_FALSE(Connect(Client()));
  EXPECT_EQ(tcp->fault(), Fault::kNone);
  TurnToTheEnd();
  EXPECT_EQ(tcp->fault(), Fault::kShutDown);
}

TEST_F(EndOfListeningTest, ASecondBeginningAdds) {
  const Shared first = Tcp(), second = Tcp();
  ending_->Begin({first}, hours(1));
  ending_->Begin({second}, Duration::zero());
  EXPECT_EQ(first->fault(), Fault::kNone);
  TurnToTheEnd();
  EXPECT_EQ(first->fault(), Fault::kShutDown);
  EXPECT_EQ(second->fault(), Fault::kShutDown);
}

TEST_F(EndOfListeningTest, ALastCallThatIsOverDoesNotCutTheNextShort) {
  const Shared first = Tcp(), second = Tcp();
  ending_->Begin({first}, Duration::zero());
  // Before the loop tells of the first, which is over.
  boost::asio::post(loop_, [&] { ending_->Begin({second}, hours(1)); });
  Turn();
  EXPECT_TRUE(HeldOff(second));
  EXPECT_EQ(second->fault(), Fault::kNone);
}

TEST_F(EndOfListeningTest, ALastCallThatWasEndedEndsNothingLater) {
  const Shared first = Tcp(), second = Tcp();
  ending_->Begin({first}, Duration::zero());
  boost::asio::post(loop_, [&] {
    ending_->End();
    ending_->Defer({second});
  });
  Turn();
  EXPECT_EQ(first->fault(), Fault::kShutDown);
  EXPECT_EQ(second->fault(), Fault::kNone);
}

TEST_F(EndOfListeningTest, WhereNothingIsToEndNothingIsWaitedFor) {
  ending_->Begin({}, hours(1));
  Turn();
  EXPECT_TRUE(loop_.stopped());
}

TEST_F(EndOfListeningTest, EndDoesNotWait) {
  const Shared begun = Tcp(), deferred = Unix();
  ending_->Begin({begun}, hours(1));
  ending_->Defer({deferred});
  ending_->End();
  EXPECT_EQ(begun->fault(), Fault::kShutDown);
  EXPECT_EQ(deferred->fault(), Fault::kShutDown);
  EXPECT_NE(access(path_.c_str(), F_OK), 0);
  EXPECT_EQ(deferred.use_count(), 1) << "it is kept";
  TurnToTheEnd();  // nothing is waited for
}

TEST_F(EndOfListeningTest, WhatIsSystemdsIsNotTouched) {
  const Shared listener = Systemd();
  ending_->Begin({listener}, Duration::zero());
  ending_->Defer({listener});
  TurnToTheEnd();
  ending_->End();
  EXPECT_FALSE(HeldOff(listener));
  EXPECT_EQ(listener->fault(), Fault::kNone);
  EXPECT_EQ(listener.use_count(), 1) << "it is kept";
}

TEST_F(EndOfListeningTest, IsAbandonedWhenItIsDestroyed) {
  const Shared first = Tcp(), second = Tcp();
  ending_->Begin({first}, Duration::zero());
  ending_.reset();
  TurnToTheEnd();
  EXPECT_EQ(first->fault(), Fault::kNone);
  // Before the loop tells of a last call that is over.
  ending_.emplace(loop_).Begin({second}, Duration::zero());
  boost::asio::post(loop_, [&] { ending_.reset(); });
  Turn();
  EXPECT_EQ(second->fault(), Fault::kNone);
}

}  // namespace
}  // namespace lastcall
