// What happens to sockets that are watched, on a loop that the test turns.
#include "daemon/setup/socket_watch.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>
#include <utility>

#include "listener_fixture.h"
#include "temp_folder.h"

namespace lastcall {
namespace {

class SocketWatchTest : public ::testing::Test {
 protected:
  SocketWatchTest() {
    auto listener = Listener::Bind(Parse("unix:" + folder_ / "a.sock"));
    EXPECT_TRUE(listener) << listener.error().message;
    sockets_["a"].push_back(
        {"unix:a.sock", std::make_shared<const Listener>(std::move(*listener))});
  }

  // How often something was told, in all that is to be told by now.
  int Told() {
    loop_.restart();
    loop_.poll();
    return std::exchange(told_, 0);
  }

  TempFolder folder_;
  Sockets sockets_;
  int told_ = 0;
  boost::asio::io_context loop_;
  SocketWatch watch_{loop_, [this] { ++told_; }};
};

TEST_F(SocketWatchTest, APathThatGoesIsTold) {
  watch_.Begin(sockets_);
  EXPECT_EQ(Told(), 0);
  unlink((folder_ / "a.sock").c_str());
  EXPECT_EQ(Told(), 1);
}

TEST_F(SocketWatchTest, ASocketThatIsShutDownIsToldOnce) {
  watch_.Begin(sockets_);
  shutdown(sockets_["a"][0].listener->fd(), SHUT_RDWR);
  EXPECT_EQ(Told(), 1);
  EXPECT_EQ(Told(), 0);
}

// As one that could not be mended: it is told once for each beginning, and not for ever.
TEST_F(SocketWatchTest, ASocketThatWasShutDownBeforeIsToldOnce) {
  shutdown(sockets_["a"][0].listener->fd(), SHUT_RDWR);
  watch_.Begin(sockets_);
  EXPECT_EQ(Told(), 1);
  EXPECT_EQ(Told(), 0);
}

// Whoever is told begins anew, and would be told for ever.
TEST_F(SocketWatchTest, BeginningAnewIsNoChange) {
  watch_.Begin(sockets_);
  watch_.Begin(sockets_);
  EXPECT_EQ(Told(), 0);
  unlink((folder_ / "a.sock").c_str());
  watch_.Begin(sockets_);
  EXPECT_EQ(Told(), 0);
  folder_.Write("b", "");
  EXPECT_EQ(Told(), 1);
}

TEST_F(SocketWatchTest, NothingIsToldAfterTheEnd) {
  watch_.Begin(sockets_);
  watch_.End();
  unlink((folder_ / "a.sock").c_str());
  EXPECT_EQ(Told(), 0);
}

}  // namespace
}  // namespace lastcall
