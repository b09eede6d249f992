// How the other end of a connection is written.
#include <lastcall/base/peer_text.h>

#include <gtest/gtest.h>

namespace lastcall {
namespace {

TEST(PeerTextTest, AddressesAreWrittenAsListenHasThem) {
  EXPECT_EQ(PeerText("ipv4:127.0.0.1:4711"), "127.0.0.1:4711");
  EXPECT_EQ(PeerText("ipv6:%5B::1%5D:34886"), "[::1]:34886");
  EXPECT_EQ(PeerText("ipv6:[2001:db8::1]:34886"), "[2001:db8::1]:34886");
  EXPECT_EQ(PeerText("ipv6:%5Bfe80::1%25eth0%5D:1"), "[fe80::1%eth0]:1");
}

TEST(PeerTextTest, AnythingElseStaysAsItIs) {
  for (const std::string text : {"", "unix:", "unix:/run/%5Bx%5D.sock", "alice", "ipv6", "%5"}) {
    EXPECT_EQ(PeerText(text), text);
  }
  // No escape but those that gRPC makes: a line break stays in its hiding place.
  EXPECT_EQ(PeerText("ipv6:%0A%5B::1%5D%"), "%0A[::1]%");
}

}  // namespace
}  // namespace lastcall
