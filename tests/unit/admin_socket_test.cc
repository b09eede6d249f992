// One daemon at a time, a stale socket replaced, a lost one made again.
#include "daemon/admin/socket.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>

#include <cerrno>
#include <filesystem>
#include <functional>
#include <utility>
#include <vector>

#include "listener_fixture.h"
#include "temp_folder.h"

namespace {

// What others do between open and flock.
std::function<void()> before_flock;

}  // namespace

// In the place of libc's, for this program.
extern "C" int flock(int fd, int operation) noexcept {
  if (before_flock) before_flock();
  return static_cast<int>(syscall(SYS_flock, fd, operation));
}

namespace lastcall {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;

class AdminSocketTest : public testing::Test {
 protected:
  AdminSocket Claim() {
    auto claimed = AdminSocket::Claim(path_);
    if (!claimed) throw std::runtime_error(claimed.error().message);
    return std::move(*claimed);
  }
  static bool Changed(const AdminSocket& socket) {
    pollfd watched{socket.changes(), POLLIN, 0};
    return poll(&watched, 1, 0) == 1;
  }

  TempFolder folder_;
  const std::string path_ = folder_ / "admin.sock";
};

TEST_F(AdminSocketTest, IsThereForEverybodyAndGoesWithItsLock) {
  {
    AdminSocket socket = Claim();
    const auto listener = socket.Share();
    struct stat status {};
    ASSERT_EQ(stat(path_.c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 07777, 0666u);
    EXPECT_TRUE(fs::exists(path_ + ".lock"));
    EXPECT_TRUE(socket.IsThere());
  }
  EXPECT_TRUE(fs::is_empty(folder_.path()));
}

// Whoever connects in a loop keeps it full, and all others wait for it to be emptied.
TEST_F(AdminSocketTest, ItsQueueIsShort) {
  AdminSocket socket = Claim();
  const auto listener = socket.Share();
  sockaddr_un address{.sun_family = AF_UNIX};
  path_.copy(address.sun_path, sizeof(address.sun_path) - 1);
  std::vector<UniqueFd> waiting;
  for (;;) {
    UniqueFd client(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (connect(client.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
      EXPECT_EQ(errno, EAGAIN);
      break;
    }
    waiting.push_back(std::move(client));
  }
  EXPECT_GE(waiting.size(), 256u) << "there may be a burst";
  EXPECT_LE(waiting.size(), 1024u);
}

// Where others may write into the folder they can go on for ever.
TEST_F(AdminSocketTest, ALookTakesSomeOfWhatHasHappenedAndNotAllOfIt) {
  AdminSocket socket = Claim();
  const auto listener = socket.Share();
  for (int i = 0; i < 5000; ++i) {
    const std::string path = folder_ / std::to_string(i);
    ASSERT_EQ(mkdir(path.c_str(), 0700), 0);
    ASSERT_EQ(rmdir(path.c_str()), 0);
  }
  EXPECT_TRUE(socket.IsThere());
  EXPECT_TRUE(Changed(socket)) << "there is more";
  while (Changed(socket)) EXPECT_TRUE(socket.IsThere());
}

TEST_F(AdminSocketTest, ASecondOneIsRefusedWithItsHolder) {
  AdminSocket first = Claim();
  const auto listener = first.Share();
  for (int i = 0; i < 2; ++i) {
    const auto second = AdminSocket::Claim(path_);
    ASSERT_FALSE(second);
    EXPECT_EQ(second.error().code, Code::kAlreadyExists);
    EXPECT_THAT(second.error().message,
                AllOf(HasSubstr(path_ + " is held by "), HasSubstr(OwnName())));
  }
  EXPECT_TRUE(first.IsThere()) << "it is as it was";
}

TEST_F(AdminSocketTest, AStaleOneIsReplacedALiveOneIsNot) {
  Address address = Parse("unix:" + path_);
  auto other = Listener::Bind(address);
  ASSERT_TRUE(other);
  UniqueFd listening = other->Release();
  const auto refused = AdminSocket::Claim(path_);
  ASSERT_FALSE(refused) << "somebody listens, though without the lock";
  EXPECT_THAT(refused.error().message, AllOf(HasSubstr("in use by"), HasSubstr(OwnName())));
  listening.Reset();
  ASSERT_TRUE(fs::exists(path_)) << "as a daemon that was killed leaves it";
  EXPECT_TRUE(Claim().IsThere());
}

TEST_F(AdminSocketTest, ALostOneIsNoticedAndMadeAgain) {
  AdminSocket socket = Claim();
  const auto listener = socket.Share();
  EXPECT_TRUE(socket.IsThere());
  EXPECT_FALSE(Changed(socket));
  fs::remove(path_);
  EXPECT_TRUE(Changed(socket));
  EXPECT_FALSE(socket.IsThere());
  const auto renewed = socket.Renew();
  ASSERT_TRUE(renewed) << renewed.error().message;
  EXPECT_TRUE(*renewed);
  const auto again = socket.Share();
  EXPECT_TRUE(socket.IsThere());
}

TEST_F(AdminSocketTest, ALostLockIsTakenAgain) {
  AdminSocket socket = Claim();
  const auto listener = socket.Share();
  fs::remove(path_ + ".lock");
  EXPECT_FALSE(socket.IsThere());
  const auto renewed = socket.Renew();
  ASSERT_TRUE(renewed) << renewed.error().message;
  EXPECT_FALSE(*renewed) << "the socket is the same";
  EXPECT_TRUE(socket.IsThere());
  EXPECT_FALSE(AdminSocket::Claim(path_));
}

// A daemon that ends removes its lock, and another one may make it anew, after this one has opened
// it: what it opened is nobody's lock any more.
class AdminSocketRaceTest : public AdminSocketTest {
 protected:
  ~AdminSocketRaceTest() override { before_flock = nullptr; }

  // A daemon that has come as far as to its lock.
  UniqueFd OthersLock() const {
    UniqueFd lock(open((path_ + ".lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    EXPECT_EQ(syscall(SYS_flock, lock.get(), LOCK_EX | LOCK_NB), 0);
    return lock;
  }
};

TEST_F(AdminSocketRaceTest, ALockThatAnotherMadeAnewMeanwhileIsTheOthers) {
  UniqueFd other;
  before_flock = [&] {
    before_flock = nullptr;
    fs::remove(path_ + ".lock");
    other = OthersLock();
  };
  const auto refused = AdminSocket::Claim(path_);
  ASSERT_TRUE(other);
  ASSERT_FALSE(refused) << "both hold it";
  EXPECT_EQ(refused.error().code, Code::kAlreadyExists);
  EXPECT_THAT(refused.error().message, HasSubstr(path_ + " is held by "));
  EXPECT_FALSE(fs::exists(path_));
  EXPECT_TRUE(fs::exists(path_ + ".lock")) << "it is not ours to remove";
}

TEST_F(AdminSocketRaceTest, ALockThatIsRemovedMeanwhileIsTakenAnew) {
  int removed = 0;
  before_flock = [&] { removed += removed < 2 && fs::remove(path_ + ".lock") ? 1 : 0; };
  AdminSocket socket = Claim();
  EXPECT_EQ(removed, 2);
  EXPECT_TRUE(socket.IsThere());
  EXPECT_FALSE(AdminSocket::Claim(path_)) << "it holds";
}

TEST_F(AdminSocketRaceTest, ALockThatNeverStaysIsGivenUp) {
  before_flock = [&] { fs::remove(path_ + ".lock"); };
  const auto refused = AdminSocket::Claim(path_);
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message, HasSubstr("does not stay; does something remove it?"));
}

TEST_F(AdminSocketTest, WhatIsInTheWayStays) {
  folder_.Write("admin.sock", "precious");
  const auto refused = AdminSocket::Claim(path_);
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message, HasSubstr("a file that is not a socket is in the way"));
  EXPECT_FALSE(fs::exists(path_ + ".lock"));
}

TEST_F(AdminSocketTest, AFolderThatIsNotThereIsNamed) {
  const auto refused = AdminSocket::Claim(folder_ / "run/admin.sock");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kInvalidArgument);
  EXPECT_THAT(refused.error().message,
              HasSubstr("create the directory " + folder_.path() + "/run first"));
}

TEST_F(AdminSocketTest, ALinkInPlaceOfTheLockIsNotFollowed) {
  folder_.Write("other", "precious");
  fs::create_symlink("other", path_ + ".lock");
  const auto refused = AdminSocket::Claim(path_);
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message, HasSubstr("a link is in its place; remove it"));
  EXPECT_EQ(fs::file_size(folder_ / "other"), 8u);
}

}  // namespace
}  // namespace lastcall
