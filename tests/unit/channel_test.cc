// The control channel: messages small and large, descriptors, and a peer that does not behave.
#include "wire/channel.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <atomic>
#include <cstring>
#include <thread>

#include "await_asleep.h"
#include "lastcall/host/v1/host.pb.h"

namespace lastcall {
namespace {

using namespace std::chrono_literals;
using host::v1::ToHost;
using Sent = Channel::Sent;
using Received = Channel::Received;

constexpr size_t kPacket = 60 * 1024;  // what is larger travels in a memfd

ToHost MessageOf(const std::string& text) {
  ToHost message;
  message.mutable_set_draining()->set_server(text);
  return message;
}

// A message whose serialised form has exactly `size` bytes.
ToHost MessageOfSize(size_t size) {
  std::string text(size, 'x');
  while (MessageOf(text).ByteSizeLong() > size) text.pop_back();
  EXPECT_EQ(MessageOf(text).ByteSizeLong(), size);
  return MessageOf(text);
}

bool SameFile(int a, int b) {
  struct stat first {
  }, second{};
  return fstat(a, &first) == 0 && fstat(b, &second) == 0 && first.st_ino == second.st_ino;
}

struct Pipe {
  Pipe() {
    int ends[2];
    EXPECT_EQ(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
    read_end.Reset(ends[0]);
    write_end.Reset(ends[1]);
  }
  // Whether every copy of the write end is closed.
  bool AtEnd() const {
    char byte;
    return read(read_end.get(), &byte, 1) == 0;
  }
  UniqueFd read_end, write_end;
};

class ChannelTest : public testing::Test {
 protected:
  void SetUp() override {
    auto pair = Channel::Pair();
    ASSERT_TRUE(pair);
    here_.emplace(std::move(pair->first));
    there_.emplace(std::move(pair->second));
  }

  // The text of the next message; "" and a failure where there is none.
  std::string Receive(std::vector<UniqueFd>* fds = nullptr) {
    ToHost message;
    EXPECT_EQ(there_->TryReceive(message, fds), Received::kYes);
    return message.set_draining().server();
  }
  Received TryReceive(std::vector<UniqueFd>* fds = nullptr) {
    ToHost message;
    return there_->TryReceive(message, fds);
  }
  // A packet that TrySend would not make.
  void SendRaw(const std::string& packet, int fd = -1) {
    iovec part{const_cast<char*>(packet.data()), packet.size()};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
    msghdr header{};
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    if (fd >= 0) {
      header.msg_control = control;
      header.msg_controllen = sizeof(control);
      cmsghdr* rights = CMSG_FIRSTHDR(&header);
      rights->cmsg_level = SOL_SOCKET;
      rights->cmsg_type = SCM_RIGHTS;
      rights->cmsg_len = CMSG_LEN(sizeof(int));
      std::memcpy(CMSG_DATA(rights), &fd, sizeof(int));
    }
    ASSERT_EQ(sendmsg(here_->fd(), &header, MSG_NOSIGNAL), static_cast<ssize_t>(packet.size()));
  }
  // A memfd with a serialised message of which only the first `kept` bytes are there; sealed, as the
  // channel does it.
  static UniqueFd Memfd(const ToHost& message, size_t kept,
                        int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) {
    UniqueFd fd(memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    const std::string bytes = message.SerializeAsString();
    EXPECT_EQ(write(fd.get(), bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
    EXPECT_EQ(ftruncate(fd.get(), static_cast<off_t>(kept)), 0);
    EXPECT_EQ(fcntl(fd.get(), F_ADD_SEALS, seals), 0);
    return fd;
  }

  std::optional<Channel> here_, there_;
};

TEST_F(ChannelTest, EndsAreNotInheritedAndDoNotBlock) {
  for (const Channel* end : {&*here_, &*there_}) {
    EXPECT_NE(fcntl(end->fd(), F_GETFD) & FD_CLOEXEC, 0);
    EXPECT_NE(fcntl(end->fd(), F_GETFL) & O_NONBLOCK, 0);
  }
  EXPECT_EQ(TryReceive(), Received::kNothingYet);
}

TEST_F(ChannelTest, MessagesArriveWholeAndInOrderBothWays) {
  EXPECT_EQ(here_->TrySend(MessageOf("one")), Sent::kYes);
  EXPECT_EQ(here_->TrySend(ToHost()), Sent::kYes);  // an empty one is a message too
  EXPECT_EQ(here_->TrySend(MessageOf("three")), Sent::kYes);
  EXPECT_EQ(there_->TrySend(MessageOf("back")), Sent::kYes);
  EXPECT_EQ(Receive(), "one");
  EXPECT_EQ(Receive(), "");
  EXPECT_EQ(Receive(), "three");
  EXPECT_EQ(TryReceive(), Received::kNothingYet);
  std::swap(here_, there_);
  EXPECT_EQ(Receive(), "back");
}

TEST_F(ChannelTest, MessagesOfEverySizeArrive) {
  for (const size_t size :
       {size_t{10}, kPacket - 1, kPacket, kPacket + 1, size_t{1} << 20, size_t{16} << 20}) {
    const ToHost message = MessageOfSize(size);
    ASSERT_EQ(here_->TrySend(message), Sent::kYes) << size;
    std::vector<UniqueFd> fds;
    ToHost received;
    ASSERT_EQ(there_->TryReceive(received, &fds), Received::kYes) << size;
    EXPECT_EQ(received.SerializeAsString(), message.SerializeAsString()) << size;
    EXPECT_TRUE(fds.empty()) << size;  // the memfd is the channel's own
  }
}

TEST_F(ChannelTest, DescriptorsGoWithMessagesSmallAndLarge) {
  for (const size_t size : {size_t{10}, kPacket + 1}) {
    const Pipe one, two;
    ASSERT_EQ(here_->TrySend(MessageOfSize(size), {one.read_end.get(), two.read_end.get()}),
              Sent::kYes);
    std::vector<UniqueFd> fds;
    Receive(&fds);
    ASSERT_EQ(fds.size(), 2u);
    EXPECT_TRUE(SameFile(fds[0].get(), one.read_end.get()));
    EXPECT_TRUE(SameFile(fds[1].get(), two.read_end.get()));
    EXPECT_NE(fcntl(fds[0].get(), F_GETFD) & FD_CLOEXEC, 0);
  }
}

TEST_F(ChannelTest, WhatIsReceivedReplacesTheDescriptorsOfTheMessageBefore) {
  Pipe pipe;
  here_->TrySend(MessageOf("with"), {pipe.write_end.get()});
  here_->TrySend(MessageOf("without"));
  pipe.write_end.Reset();
  std::vector<UniqueFd> fds;
  EXPECT_EQ(Receive(&fds), "with");
  EXPECT_EQ(fds.size(), 1u);
  EXPECT_FALSE(pipe.AtEnd());
  EXPECT_EQ(Receive(&fds), "without");
  EXPECT_TRUE(fds.empty());
  EXPECT_TRUE(pipe.AtEnd());
}

TEST_F(ChannelTest, DescriptorsThatNobodyWantsAreClosed) {
  Pipe pipe;
  here_->TrySend(MessageOf("x"), {pipe.write_end.get()});
  pipe.write_end.Reset();
  Receive(nullptr);
  EXPECT_TRUE(pipe.AtEnd());
}

TEST_F(ChannelTest, AsManyDescriptorsPassAsAProcessHasSocketsAndNoMore) {
  const Pipe pipe;
  const std::vector<int> many(250, pipe.read_end.get());
  EXPECT_EQ(here_->TrySend(MessageOf("many"), many), Sent::kYes);
  std::vector<UniqueFd> fds;
  Receive(&fds);
  EXPECT_EQ(fds.size(), 250u);
  EXPECT_EQ(here_->TrySend(MessageOf("more"), std::vector<int>(251, pipe.read_end.get())),
            Sent::kClosed);
}

TEST_F(ChannelTest, AFullChannelRefusesAndLosesNothing) {
  int sent = 0;
  while (here_->TrySend(MessageOf(std::to_string(sent))) == Sent::kYes) ++sent;
  EXPECT_EQ(here_->TrySend(MessageOf("x")), Sent::kFull);
  for (int i = 0; i < sent; ++i) ASSERT_EQ(Receive(), std::to_string(i));
  EXPECT_EQ(TryReceive(), Received::kNothingYet);
  EXPECT_EQ(here_->TrySend(MessageOf("again")), Sent::kYes);
}

TEST_F(ChannelTest, SendWaitsForRoom) {
  int sent = 0;
  while (here_->TrySend(MessageOf("fill")) == Sent::kYes) ++sent;
  std::atomic<pid_t> sender{0};
  std::jthread thread([&] {
    sender = gettid();
    here_->Send(MessageOf("waited"));
  });
  AwaitAsleep(sender);
  for (int i = 0; i < sent; ++i) Receive();
  thread.join();
  EXPECT_EQ(Receive(), "waited");
}

TEST_F(ChannelTest, WhatWasSentBeforeTheEndIsReceivedFirst) {
  here_->TrySend(MessageOf("last words"));
  here_.reset();
  EXPECT_EQ(Receive(), "last words");
  EXPECT_EQ(TryReceive(), Received::kClosed);
  EXPECT_EQ(TryReceive(), Received::kClosed);
  EXPECT_EQ(there_->TrySend(MessageOf("x")), Sent::kClosed);  // and no SIGPIPE
  there_->Send(MessageOf("x"));                               // returns
}

TEST_F(ChannelTest, WaitingForAMessageEndsWithItAndWithTheOtherEnd) {
  for (const bool close : {false, true}) {
    std::atomic<pid_t> waiter{0};
    std::jthread thread([&] {
      waiter = gettid();
      there_->WaitReadable();
    });
    AwaitAsleep(waiter);
    close ? here_.reset() : (void)here_->TrySend(MessageOf("x"));
    thread.join();
    EXPECT_EQ(TryReceive(), close ? Received::kClosed : Received::kYes);
  }
}

TEST_F(ChannelTest, PacketsThatAreNoMessageAreMalformedAndTheNextIsWell) {
  Pipe pipe;
  const int fd = pipe.write_end.get();
  const ToHost large = MessageOfSize(kPacket + 100);
  const UniqueFd cut = Memfd(large, kPacket + 50), emptied = Memfd(large, 0),
                 small = Memfd(MessageOf("small"), 10), whole = Memfd(large, large.ByteSizeLong()),
                 open = Memfd(large, large.ByteSizeLong(), F_SEAL_SHRINK);
  // Of a file system that may belong to anybody, and may take its time.
  const UniqueFd file(::open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
  const struct {
    const char* what;
    std::string packet;
    int fd;
  } rows[] = {
      {"no such place", "x", -1},
      {"not protobuf", "i\xFF\xFF\xFF", -1},
      {"not protobuf, with a descriptor", "i\xFF\xFF\xFF", fd},
      {"too long, by bytes that nobody reads",
       "i" + MessageOfSize(kPacket).SerializeAsString() + "x", -1},
      {"in a memfd, without one", "m", -1},
      {"in a memfd that is a pipe", "m", fd},
      {"in a memfd that was cut short", "m", cut.get()},
      {"in a memfd that was emptied", "m", emptied.get()},
      {"in a memfd for no reason", "m", small.get()},
      {"in a memfd that may still change", "m", open.get()},
      {"in a file", "m", file.get()},
  };
  for (const auto& row : rows) {
    SendRaw(row.packet, row.fd);
    std::vector<UniqueFd> fds;
    EXPECT_EQ(TryReceive(&fds), Received::kMalformed) << row.what;
    EXPECT_TRUE(fds.empty()) << row.what;
    here_->TrySend(MessageOf("next"));
    EXPECT_EQ(Receive(), "next") << row.what;
  }
  SendRaw("m", whole.get());
  EXPECT_EQ(TryReceive(), Received::kYes);
  pipe.write_end.Reset();
  EXPECT_TRUE(pipe.AtEnd());  // what came with a malformed packet is closed
}

TEST_F(ChannelTest, WhatIsNotAdmittedIsNotReadAndTheNextIsWell) {
  for (const size_t size : {size_t{10}, kPacket + 1, size_t{16} << 20}) {
    Pipe pipe;
    here_->TrySend(MessageOfSize(size), {pipe.write_end.get()});
    here_->TrySend(MessageOf("next"));
    pipe.write_end.Reset();
    ToHost message;
    size_t asked = 0;
    const auto admits = [&](size_t bytes, size_t) {
      asked = bytes;
      return false;
    };
    EXPECT_EQ(there_->TryReceive(message, nullptr, admits), Received::kRefused);
    EXPECT_EQ(asked, size);
    EXPECT_FALSE(message.has_set_draining());
    EXPECT_TRUE(pipe.AtEnd());
    EXPECT_EQ(Receive(), "next");
  }
}

// A close may block for as long as SO_LINGER says, and who hands over a socket has chosen that.
TEST_F(ChannelTest, SocketsThatAreReceivedDoNotLinger) {
  const UniqueFd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const linger long_while{.l_onoff = 1, .l_linger = 60};
  ASSERT_EQ(setsockopt(socket.get(), SOL_SOCKET, SO_LINGER, &long_while, sizeof(linger)), 0);
  here_->TrySend(MessageOf("x"), {socket.get()});
  Receive(nullptr);
  linger now{};
  socklen_t size = sizeof(now);
  ASSERT_EQ(getsockopt(socket.get(), SOL_SOCKET, SO_LINGER, &now, &size), 0);
  EXPECT_EQ(now.l_onoff, 0);
}

}  // namespace
}  // namespace lastcall
