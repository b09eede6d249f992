// What a descriptor is called, whatever it is.
#include "lastcall/threads/descriptor_text.h"

#include <gmock/gmock.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/un.h>

#include <atomic>
#include <cstring>
#include <set>

#include "lastcall/base/safe_text.h"
#include "lastcall/threads/thread_sample.h"
#include "own_thread.h"
#include "pipe_ends.h"
#include "tcp_pair.h"
#include "temp_folder.h"

namespace lastcall {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;

std::string Described(UniqueFd fd) { return DescribeFd(fd.get()); }

TEST(DescriptorTextTest, AConnectionIsItsPeer) {
  const TcpPair tcp;
  EXPECT_EQ(DescribeFd(tcp.client.get()), "tcp 127.0.0.1:" + tcp.port);
  EXPECT_THAT(DescribeFd(tcp.server.get()), StartsWith("tcp 127.0.0.1:"));
  EXPECT_EQ(DescribeFd(tcp.listener.get()), "tcp, listening on 127.0.0.1:" + tcp.port);
  EXPECT_EQ(Described(UniqueFd(socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0))),
            "tcp, not connected, bound to [::]:0");
  EXPECT_THAT(Described(UniqueFd(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0))),
              StartsWith("udp, not connected"));
  EXPECT_EQ(Described(UniqueFd(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, 0))), "netlink");
}

struct UnixServer {
  explicit UnixServer(const std::string& path) {
    name.sun_family = AF_UNIX;
    std::memcpy(name.sun_path, path.data(), path.size());
    size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size());
    listener.Reset(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    client.Reset(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const auto* const address = reinterpret_cast<const sockaddr*>(&name);
    EXPECT_EQ(bind(listener.get(), address, size), 0);
    EXPECT_EQ(listen(listener.get(), 1), 0);
    EXPECT_EQ(connect(client.get(), address, size), 0);
    server.Reset(accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
  }
  sockaddr_un name{};
  socklen_t size = 0;
  UniqueFd listener, client, server;
};

TEST(DescriptorTextTest, AUnixSocketIsItsPathAtEitherEndAndWhoIsThere) {
  const TempFolder folder;
  const std::string path = folder.path() + "/x.sock";
  const UnixServer unix_server(path);
  const std::string pid = ", pid " + std::to_string(getpid());
  EXPECT_EQ(DescribeFd(unix_server.client.get()), "unix " + path + pid);
  EXPECT_EQ(DescribeFd(unix_server.server.get()), "unix " + path + pid);
  EXPECT_EQ(DescribeFd(unix_server.listener.get()), "unix, listening on " + path);
}

TEST(DescriptorTextTest, AnAbstractNameIsMadeSafe) {
  const std::string name =
      std::string("\0lastcall-\x1b[31m", 15) + std::to_string(getpid()) + "\xff";
  const UnixServer unix_server(name);
  const std::string text = DescribeFd(unix_server.client.get());
  EXPECT_THAT(text, StartsWith("unix @lastcall-\\x1b[31m"));
  EXPECT_TRUE(IsSafeText(text));
}

TEST(DescriptorTextTest, FilesPipesAndWhatTheKernelMadeHaveTheirNames) {
  const TempFolder folder;
  const std::string path = folder.path() + "/line\nbreak";
  const UniqueFd file(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  EXPECT_EQ(DescribeFd(file.get()), folder.path() + "/line\\nbreak");
  const PipeEnds pipe;
  EXPECT_EQ(DescribeFd(pipe.writer.get()), "pipe");
  EXPECT_EQ(Described(UniqueFd(open("/dev/null", O_RDONLY | O_CLOEXEC))), "/dev/null");
  EXPECT_EQ(Described(UniqueFd(eventfd(0, EFD_CLOEXEC))), "eventfd");
  EXPECT_EQ(Described(UniqueFd(epoll_create1(EPOLL_CLOEXEC))), "epoll");
  EXPECT_EQ(Described(UniqueFd(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC))), "timerfd");
  EXPECT_THAT(Described(UniqueFd(memfd_create("state", MFD_CLOEXEC))), HasSubstr("memfd:state"));
}

TEST(DescriptorTextTest, ANumberThatIsNotOpenHasNoName) {
  EXPECT_EQ(DescribeFd(-1), "");
  EXPECT_EQ(DescribeFd(1 << 30), "");
}

TEST(DescriptorTextTest, ANameIsBounded) {
  const TempFolder folder;
  std::string path = folder.path();
  for (int i = 0; i < 5; ++i) {
    path += "/" + std::string(200, 'd');
    ASSERT_EQ(mkdir(path.c_str(), 0700), 0);
  }
  const UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  EXPECT_LE(DescribeFd(fd.get()).size(), kMaxSafeName);
}

// A connection and a pipe have the number in turn. Until both were seen; nothing else ever is.
TEST(DescriptorTextTest, ANumberThatIsReusedMeanwhileIsOneOrTheOther) {
  const TcpPair tcp;
  const PipeEnds pipe;
  const UniqueFd reused(dup(pipe.reader.get()));
  std::atomic<bool> enough{false};
  OwnThread swaps([&] {
    while (!enough) {
      dup3(tcp.client.get(), reused.get(), O_CLOEXEC);
      dup3(pipe.reader.get(), reused.get(), O_CLOEXEC);
    }
  });
  std::set<std::string> seen;
  const std::string peer = "tcp 127.0.0.1:" + tcp.port;
  for (int i = 0; i < 2000 || !seen.contains(peer) || !seen.contains("pipe"); ++i) {
    seen.insert(DescribeFd(reused.get()));
  }
  enough = true;
  seen.erase("reused all the time");
  EXPECT_THAT(seen, ElementsAre("pipe", peer));
}

TEST(DescriptorTextTest, ArgumentsThatLeadNowhereHaveNoDescriptors) {
  KernelPlace place;
  place.kind = KernelPlace::Kind::kCall;
  place.number = SYS_ppoll;
  place.arguments = {16, 1000, 0, 0, 0, 0};
  EXPECT_THAT(DescriptorsOf(place), IsEmpty());
  place.number = SYS_pselect6;
  place.arguments = {~0ULL, 16, ~0ULL, 8, 0, 0};
  EXPECT_THAT(DescriptorsOf(place), IsEmpty());
  place.number = SYS_epoll_pwait;
  EXPECT_THAT(DescriptorsOf(place), IsEmpty());
  place.number = 123456;
  EXPECT_THAT(DescriptorsOf(place), IsEmpty());
  place.number = SYS_read;
  EXPECT_THAT(DescriptorsOf(place), ElementsAre(-1));
  place.kind = KernelPlace::Kind::kAwake;
  EXPECT_THAT(DescriptorsOf(place), IsEmpty());
}

}  // namespace
}  // namespace lastcall
