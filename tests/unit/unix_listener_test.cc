// Listening unix sockets: what they are, when they are refused, and what is left on the file
// system.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <grp.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "listener_fixture.h"
#include "temp_folder.h"

namespace lastcall {
namespace {

using testing::AllOf;
using testing::EndsWith;
using testing::HasSubstr;
using testing::StartsWith;

int ConnectUnix(const std::string& path) {
  const UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  std::memcpy(name.sun_path, path.data(), path.size());
  return connect(fd.get(), reinterpret_cast<sockaddr*>(&name), sizeof(name)) == 0 ? 0 : errno;
}

bool Exists(const std::string& path) {
  struct stat there {};
  return lstat(path.c_str(), &there) == 0;
}

class UnixListenerTest : public testing::Test {
 protected:
  Result<Listener> Bind(const std::string& settings = "") {
    return Listener::Bind(Parse("unix:" + path_ + settings));
  }
  Listener MustBind(const std::string& settings = "") {
    auto listener = Bind(settings);
    if (!listener) {
      ADD_FAILURE() << listener.error().message;
      return Listener(UniqueFd(), "");
    }
    return std::move(*listener);
  }
  void ExpectRefused(Code code, const std::string& why) {
    const auto listener = Bind();
    ASSERT_FALSE(listener);
    EXPECT_EQ(listener.error().code, code);
    EXPECT_EQ(listener.error().message, "cannot listen on unix:" + path_ + ": " + why);
  }
  // Nothing but what the test expects is left in the folder.
  size_t Entries() const {
    size_t count = 0;
    for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(folder_.path())) {
      ++count;
    }
    return count;
  }

  TempFolder folder_;
  std::string path_ = folder_ / "x.sock";
};

TEST_F(UnixListenerTest, AppearsCompleteAndGoesWithItsOwner) {
  {
    const Listener listener = MustBind();
    EXPECT_EQ(listener.address(), "unix:" + path_);
    EXPECT_EQ(Option(listener.fd(), SOL_SOCKET, SO_ACCEPTCONN), 1);
    EXPECT_TRUE(fcntl(listener.fd(), F_GETFL) & O_NONBLOCK);
    EXPECT_TRUE(fcntl(listener.fd(), F_GETFD) & FD_CLOEXEC);
    EXPECT_EQ(ConnectUnix(path_), 0);
    EXPECT_EQ(Entries(), 1u);
  }
  EXPECT_EQ(Entries(), 0u);
}

TEST_F(UnixListenerTest, ModeIsAsWrittenWhateverTheUmask) {
  const mode_t before = umask(0077);
  const Listener plain = MustBind();
  struct stat there {};
  ASSERT_EQ(lstat(path_.c_str(), &there), 0);
  EXPECT_EQ(there.st_mode & 07777, 0666u);
  path_ = folder_ / "y.sock";
  const Listener narrow = MustBind("?mode=0600");
  ASSERT_EQ(lstat(path_.c_str(), &there), 0);
  EXPECT_EQ(there.st_mode & 07777, 0600u);
  umask(before);
}

TEST_F(UnixListenerTest, GroupIsAsWritten) {
  // One that this user may give files to: any for root, else its own.
  const group* entry = geteuid() == 0 ? getgrnam("daemon") : getgrgid(getegid());
  ASSERT_NE(entry, nullptr);
  const gid_t gid = entry->gr_gid;
  const Listener listener = MustBind("?mode=0660&group=" + std::string(entry->gr_name));
  struct stat there {};
  ASSERT_EQ(lstat(path_.c_str(), &there), 0);
  EXPECT_EQ(there.st_gid, gid);
  EXPECT_EQ(there.st_mode & 07777, 0660u);
}

TEST_F(UnixListenerTest, UnknownGroupIsRefusedAndNothingIsLeft) {
  const auto listener = Bind("?group=no-such-group");
  ASSERT_FALSE(listener);
  EXPECT_EQ(listener.error().code, Code::kInvalidArgument);
  EXPECT_EQ(listener.error().message, "cannot listen on unix:" + path_ +
                                          "?group=no-such-group: there is no group "
                                          "\"no-such-group\"; create it, or correct \"?group=\"");
  EXPECT_EQ(Entries(), 0u);
}

TEST_F(UnixListenerTest, StaleSocketIsReplaced) {
  MustBind().Release().Reset();  // as a killed daemon leaves it
  ASSERT_TRUE(Exists(path_));
  ASSERT_EQ(ConnectUnix(path_), ECONNREFUSED);
  const Listener listener = MustBind();
  EXPECT_EQ(ConnectUnix(path_), 0);
  EXPECT_EQ(Entries(), 1u);
}

TEST_F(UnixListenerTest, LiveSocketIsRefusedAndItsHolderNamed) {
  const Listener first = MustBind();
  const auto second = Bind();
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, Code::kAlreadyExists);
  EXPECT_THAT(second.error().message,
              AllOf(StartsWith("cannot listen on unix:" + path_ + ": the address is in use by "),
                    HasSubstr(OwnName()), EndsWith("; stop that process, or choose another path")));
  EXPECT_EQ(ConnectUnix(path_), 0);
  EXPECT_EQ(Entries(), 1u);
}

TEST_F(UnixListenerTest, OtherFilesAreNeverTouched) {
  folder_.Write("x.sock", "precious");
  ExpectRefused(Code::kAlreadyExists,
                "a file that is not a socket is in the way; move it, or choose another path");
  EXPECT_EQ(std::filesystem::file_size(path_), 8u);
  std::filesystem::remove(path_);
  std::filesystem::create_directory(path_);
  ExpectRefused(Code::kAlreadyExists,
                "a file that is not a socket is in the way; move it, or choose another path");
  std::filesystem::remove(path_);
  std::filesystem::create_symlink("elsewhere", path_);
  ExpectRefused(Code::kAlreadyExists,
                "a file that is not a socket is in the way; move it, or choose another path");
  EXPECT_EQ(Entries(), 1u);
}

TEST_F(UnixListenerTest, MissingFolderIsNamed) {
  path_ = folder_ / "missing/x.sock";
  ExpectRefused(Code::kInvalidArgument,
                "the directory " + (folder_ / "missing") + " does not exist; create it first");
}

TEST_F(UnixListenerTest, FileInPlaceOfTheFolderIsNamed) {
  folder_.Write("file", "");
  path_ = folder_ / "file/x.sock";
  ExpectRefused(Code::kInvalidArgument,
                (folder_ / "file") + " is not a directory; choose another path");
}

TEST_F(UnixListenerTest, FolderThatMayNotBeWrittenIsNamed) {
  ASSERT_EQ(chmod(folder_.path().c_str(), 0555), 0);
  {
    const Unprivileged nobody;
    ExpectRefused(Code::kPermissionDenied, "this user may not make files in " + folder_.path() +
                                               " (Permission denied); give it the right, or choose "
                                               "another directory");
  }
  chmod(folder_.path().c_str(), 0700);
}

TEST_F(UnixListenerTest, SocketThatMayNotBeTriedIsLeftAlone) {
  const Listener listener = MustBind("?mode=0000");
  ASSERT_EQ(chmod(folder_.path().c_str(), 0777), 0);
  const Unprivileged nobody;
  ExpectRefused(Code::kPermissionDenied,
                "a socket is there that this user may not connect to; remove it, or choose another "
                "path");
}

TEST_F(UnixListenerTest, GroupOfOthersIsRefused) {
  ASSERT_EQ(chmod(folder_.path().c_str(), 0777), 0);
  const Unprivileged nobody;
  const auto listener = Bind("?group=daemon");
  ASSERT_FALSE(listener);
  EXPECT_EQ(listener.error().code, Code::kPermissionDenied);
  EXPECT_EQ(listener.error().message,
            "cannot listen on unix:" + path_ +
                "?group=daemon: this user may not give the socket to the "
                "group \"daemon\"; make it a member of the group, or run as root");
  EXPECT_EQ(Entries(), 0u);
}

TEST_F(UnixListenerTest, LongestPathIsReached) {
  // The name that is bound first is longer than the final one: it must not be cut.
  path_ = folder_ / std::string(kMaxUnixPath - folder_.path().size() - 1, 'x');
  ASSERT_EQ(path_.size(), kMaxUnixPath);
  const Listener listener = MustBind();
  EXPECT_EQ(ConnectUnix(path_), 0);
  path_.resize(path_.size() - 1);
  const Listener shorter = MustBind();
  EXPECT_EQ(Entries(), 2u);
}

TEST_F(UnixListenerTest, ShortNameInALongFolderIsReached) {
  const std::string folder = folder_ / std::string(kMaxUnixPath - folder_.path().size() - 3, 'd');
  std::filesystem::create_directory(folder);
  path_ = folder + "/s";
  ASSERT_EQ(path_.size(), kMaxUnixPath);
  MustBind().Release().Reset();
  const Listener listener = MustBind();  // the stale one must be found, too
  EXPECT_EQ(ConnectUnix(path_), 0);
}

TEST_F(UnixListenerTest, PathThatBelongsToAnotherIsLeftAlone) {
  {
    const Listener first = MustBind();
    std::filesystem::remove(path_);
    folder_.Write("x.sock", "somebody else's");
  }
  EXPECT_TRUE(Exists(path_));
  std::filesystem::remove(path_);

  Listener first = MustBind();
  std::filesystem::remove(path_);
  const Listener second = MustBind();
  first = Listener(UniqueFd(), "");
  EXPECT_EQ(ConnectUnix(path_), 0);
}

TEST_F(UnixListenerTest, ReleasedSocketKeepsItsPath) {
  UniqueFd fd;
  {
    Listener listener = MustBind();
    fd = listener.Release();
  }
  EXPECT_EQ(ConnectUnix(path_), 0);
}

TEST_F(UnixListenerTest, MovedListenerRemovesItsPathOnce) {
  Listener first = MustBind();
  Listener second = std::move(first);
  first = Listener(UniqueFd(), "");
  EXPECT_EQ(ConnectUnix(path_), 0);

  const std::string old_path = path_;
  path_ = folder_ / "y.sock";
  second = MustBind();  // the path of what was there before goes
  EXPECT_EQ(second.address(), "unix:" + path_);
  EXPECT_FALSE(Exists(old_path));
  EXPECT_EQ(ConnectUnix(path_), 0);
}

TEST_F(UnixListenerTest, WrappedSocketLeavesThePathToItsMaker) {
  const Listener maker = MustBind();
  { const Listener wrapped(UniqueFd(dup(maker.fd())), maker.address()); }
  EXPECT_EQ(ConnectUnix(path_), 0);
}

TEST_F(UnixListenerTest, KnowsThatItsPathIsGoneOrAnothers) {
  const Listener listener = MustBind();
  EXPECT_EQ(listener.fault(), Listener::Fault::kNone);
  ASSERT_EQ(unlink(path_.c_str()), 0);
  EXPECT_EQ(listener.fault(), Listener::Fault::kPathGone);
  const Listener another = MustBind();
  EXPECT_EQ(listener.fault(), Listener::Fault::kPathGone);
  EXPECT_EQ(another.fault(), Listener::Fault::kNone);
}

TEST_F(UnixListenerTest, CannotListenAgainAfterAShutdown) {
  const Listener listener = MustBind();
  shutdown(listener.fd(), SHUT_RD);
  EXPECT_EQ(listener.fault(), Listener::Fault::kShutDown);
  EXPECT_FALSE(listener.ListenAgain());
  const Listener another = MustBind();  // in its place
  EXPECT_EQ(ConnectUnix(path_), 0);
}

TEST_F(UnixListenerTest, TakesAnotherModeAndRefusesForAPathThatIsNotItsOwn) {
  const Listener listener = MustBind();
  EXPECT_EQ(listener.ReachOf(Parse("unix:" + path_ + "?mode=0600")), Listener::Reach::kSame);
  EXPECT_EQ(listener.ReachOf(Parse("unix:" + path_ + "x")), Listener::Reach::kApart);
  ASSERT_TRUE(listener.SetRights(Parse("unix:" + path_ + "?mode=0600")));
  struct stat there {};
  ASSERT_EQ(stat(path_.c_str(), &there), 0);
  EXPECT_EQ(there.st_mode & 0777, 0600u);
  ASSERT_EQ(unlink(path_.c_str()), 0);
  const Listener another = MustBind();
  EXPECT_FALSE(listener.SetRights(Parse("unix:" + path_ + "?mode=0640")));
}

TEST_F(UnixListenerTest, AProbeSaysWhatBindWouldAndMakesNoFile) {
  EXPECT_TRUE(Listener::Probe(Parse("unix:" + path_), {}));
  EXPECT_FALSE(Exists(path_));
  EXPECT_FALSE(Listener::Probe(Parse("unix:" + path_ + "?group=nobody-has-it"), {}));
  EXPECT_FALSE(Listener::ProbeRights(Parse("unix:" + path_ + "?group=nobody-has-it")));
  const Listener listener = MustBind();
  EXPECT_FALSE(Listener::Probe(Parse("unix:" + path_), {}));
}

}  // namespace
}  // namespace lastcall
