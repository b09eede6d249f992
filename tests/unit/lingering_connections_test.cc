#include "daemon/process/lingering_connections.h"

#include <gtest/gtest.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <functional>
#include <utility>
#include <vector>

namespace lastcall {
namespace {

using namespace std::chrono_literals;

class LingeringConnectionsTest : public testing::Test {
 protected:
  // Returns the client's end.
  UniqueFd Leave(LingeringConnections& lingering) {
    int ends[2];
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    std::vector<UniqueFd> left;
    left.emplace_back(ends[0]);
    lingering.Add(std::move(left));
    return UniqueFd(ends[1]);
  }
  // False: nothing of the kind has happened for very long.
  bool RunUntil(const std::function<bool()>& happened) {
    while (!happened()) {
      if (loop_.run_one_for(30s) == 0) return false;
    }
    return true;
  }
  static bool Closed(const UniqueFd& client) {
    char byte;
    return recv(client.get(), &byte, 1, MSG_DONTWAIT) == 0;
  }

  boost::asio::io_context loop_;
};

TEST_F(LingeringConnectionsTest, OneStaysUntilItsClientHasClosedIt) {
  LingeringConnections lingering(loop_);
  UniqueFd first = Leave(lingering);
  const UniqueFd second = Leave(lingering);
  ASSERT_EQ(lingering.fds().size(), 2u);
  first = UniqueFd();
  EXPECT_TRUE(RunUntil([&] { return lingering.fds().size() == 1; }));
  EXPECT_FALSE(Closed(second));
}

TEST_F(LingeringConnectionsTest, OneIsClosedWhenItsTimeIsOverAndSoIsTheNext) {
  LingeringConnections lingering(loop_, {.stay = 1ms, .look = 1ms});
  for (int i = 0; i < 2; ++i) {
    const UniqueFd client = Leave(lingering);
    EXPECT_TRUE(RunUntil([&] { return lingering.fds().empty(); }));
    EXPECT_TRUE(Closed(client));
  }
}

TEST_F(LingeringConnectionsTest, WhatIsNoConnectionIsNotKept) {
  LingeringConnections lingering(loop_);
  std::vector<UniqueFd> left;
  left.emplace_back(eventfd(0, EFD_CLOEXEC));
  lingering.Add(std::move(left));
  EXPECT_TRUE(lingering.fds().empty());
}

}  // namespace
}  // namespace lastcall
