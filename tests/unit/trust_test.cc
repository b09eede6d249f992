// Which files are trusted, by whom they belong to and who may write them.
#include "lastcall/base/trust.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <filesystem>
#include <optional>

#include "lastcall/base/safe_text.h"
#include "temp_folder.h"

namespace lastcall {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::StartsWith;

class TrustTest : public testing::Test {
 protected:
  TrustTest() {
    umask(022);
    folder_.Write("a/b/file", "content");
  }

  void Chmod(const std::string& name, mode_t mode) {
    ASSERT_EQ(chmod((folder_ / name).c_str(), mode), 0);
  }
  void ExpectTrusted(const std::string& name) {
    const auto found = trust_->Find(folder_ / name);
    EXPECT_TRUE(found) << found.error().error.message;
  }
  // One flaw, of what is called `of`.
  void ExpectFlaw(const std::string& name, const std::string& of, const std::string& what,
                  const std::string& remedy) {
    const auto found = trust_->Find(folder_ / name);
    ASSERT_FALSE(found);
    EXPECT_EQ(found.error().error.code, Code::kFailedPrecondition);
    ASSERT_EQ(found.error().flaws.size(), 1u) << found.error().error.message;
    const Flaw& flaw = found.error().flaws[0];
    EXPECT_EQ(flaw.path, folder_ / of);
    EXPECT_THAT(flaw.what, HasSubstr(what));
    EXPECT_EQ(flaw.remedy, remedy + " " + (folder_ / of));
    EXPECT_EQ(
        found.error().error.message,
        (folder_ / name) + " is not trusted: " + flaw.path + " " + flaw.what + ": run \"" +
            flaw.remedy + "\"" +
            (flaw.by_mode ? "; or, where no one else can get there, set LASTCALL_TRUST=" + flaw.path
                          : ""));
  }
  static std::string Read(const Result<UniqueFd>& fd) {
    if (!fd) return fd.error().message;
    std::array<char, 64> text{};
    const ssize_t size = read(fd->get(), text.data(), text.size());
    return size < 0 ? "unreadable" : std::string(text.data(), static_cast<size_t>(size));
  }

  TempFolder folder_;
  std::optional<Trust> trust_{geteuid()};
};

TEST_F(TrustTest, OursIsTrustedAndReadThroughWhatWasLookedAt) {
  const auto found = trust_->Find(folder_ / "a/b/file");
  ASSERT_TRUE(found) << found.error().error.message;
  EXPECT_EQ(found->path(), fs::canonical(folder_ / "a/b/file"));
  fs::rename(folder_ / "a/b/file", folder_ / "old");
  folder_.Write("a/b/file", "another");
  EXPECT_EQ(Read(found->Open()), "content");
}

TEST_F(TrustTest, ReachesAFileThroughItsFolder) {
  const auto found = trust_->Find(folder_ / "a/b/file");
  ASSERT_TRUE(found);
  fs::rename(folder_ / "a", folder_ / "moved");
  EXPECT_TRUE(fs::equivalent(found->Reach(), folder_ / "moved/b/file"));
}

TEST_F(TrustTest, WhatOthersMayWriteIsNot) {
  for (const mode_t mode : {0620, 0602, 0666, 0777}) {
    Chmod("a/b/file", mode);
    ExpectFlaw("a/b/file", "a/b/file", "may be written by", "chmod go-w");
  }
  Chmod("a/b/file", 0600);
  for (const mode_t mode : {0770, 0707, 0777}) {
    Chmod("a", mode);
    ExpectFlaw("a/b/file", "a", "may be written by", "chmod go-w");
  }
  Chmod("a", 0755);
  ExpectTrusted("a/b/file");
}

TEST_F(TrustTest, EveryFlawIsToldOnce) {
  Chmod("a", 0777);
  Chmod("a/b", 0770);
  Chmod("a/b/file", 0666);
  fs::create_symlink("../a/b/file", folder_ / "a/link");
  const auto found = trust_->Find(folder_ / "a/link");
  ASSERT_FALSE(found);
  EXPECT_EQ(found.error().flaws.size(), 3u) << found.error().error.message;
}

TEST_F(TrustTest, AnotherUsersIsNot) {
  if (geteuid() == 0) {
    ASSERT_EQ(chown((folder_ / "a/b").c_str(), 12345, 12345), 0);
    ExpectFlaw("a/b/file", "a/b", "belongs to uid 12345", "chown root");
    return;
  }
  // All of it is ours, and this is somebody else's view.
  const auto found = Trust(12345).Find(folder_ / "a/b/file");
  ASSERT_FALSE(found);
  EXPECT_THAT(found.error().flaws.back().what, StartsWith("belongs to "));
  EXPECT_THAT(found.error().flaws.back().remedy, StartsWith("chown 12345 "));
}

TEST_F(TrustTest, LinksAreFollowedAndJudged) {
  fs::create_directory(folder_ / "c");
  fs::create_symlink("b/../b/./file", folder_ / "a/relative");
  fs::create_symlink(folder_ / "a/relative", folder_ / "c/absolute");
  const auto found = trust_->Find(folder_ / "c/absolute");
  ASSERT_TRUE(found) << found.error().error.message;
  EXPECT_EQ(found->path(), fs::canonical(folder_ / "a/b/file"));
  Chmod("a/b", 0777);
  ExpectFlaw("c/absolute", "a/b", "may be written by everybody (mode 0777)", "chmod go-w");
  Chmod("a/b", 0755);
  if (geteuid() != 0) return;
  ASSERT_EQ(lchown((folder_ / "a/relative").c_str(), 12345, 12345), 0);
  ExpectFlaw("c/absolute", "a/relative", "is a link that belongs to uid 12345", "chown -h root");
}

TEST_F(TrustTest, LinksThatGoRoundEnd) {
  fs::create_symlink("two", folder_ / "one");
  fs::create_symlink("one", folder_ / "two");
  const auto found = trust_->Find(folder_ / "one");
  ASSERT_FALSE(found);
  EXPECT_THAT(found.error().error.message, HasSubstr("Too many levels of symbolic links"));
}

TEST_F(TrustTest, AStickyFolderOfRootMayBeEverybodys) {
  Chmod("a", 01777);
  if (geteuid() != 0) {
    ExpectFlaw("a/b/file", "a", "may be written by everybody (mode 1777)", "chmod go-w");
    return;
  }
  ExpectTrusted("a/b/file");
  Chmod("a/b/file", 01666);  // means nothing on a file
  ExpectFlaw("a/b/file", "a/b/file", "may be written by everybody", "chmod go-w");
}

TEST_F(TrustTest, AFolderThatIsReadMustNotTakeOthersFiles) {
  ASSERT_TRUE(trust_->FindDirectory(folder_ / "a"));
  Chmod("a", 01777);
  const auto found = trust_->FindDirectory(folder_ / "a");
  ASSERT_FALSE(found);
  EXPECT_EQ(found.error().flaws.size(), 1u);
}

TEST_F(TrustTest, WhatIsNotThereIsNoFlaw) {
  struct Case {
    std::string path;
    Code code;
    std::string why;
  };
  for (const Case& one : {Case{folder_ / "none", Code::kNotFound, "No such file or directory"},
                          Case{folder_ / "a/b/file/x", Code::kInvalidArgument, "Not a directory"},
                          Case{folder_ / "a/b", Code::kInvalidArgument, "Is a directory"}}) {
    const auto found = trust_->Find(one.path);
    ASSERT_FALSE(found) << one.path;
    EXPECT_TRUE(found.error().flaws.empty());
    EXPECT_EQ(found.error().error.code, one.code);
    EXPECT_EQ(found.error().error.message, one.path + ": cannot be read: " + one.why);
  }
  EXPECT_FALSE(trust_->FindDirectory(folder_ / "a/b/file"));
}

TEST_F(TrustTest, ModesDoNotCountInAClosedDirectory) {
  for (const char* const name : {"a", "a/b", "a/b/file"}) Chmod(name, 0777);
  fs::create_directory(folder_ / "c");
  fs::create_symlink(folder_ / "a/b/file", folder_ / "c/link");
  fs::create_symlink("a", folder_ / "another");
  for (const char* const closed : {"a", "another", "a/"}) {
    trust_.emplace(geteuid(), std::vector{folder_ / closed});
    ExpectTrusted("a/b/file");
    ExpectTrusted("c/link");
    EXPECT_TRUE(trust_->FindDirectory(folder_ / "a/b"));
  }
  // Not above it, nor beside it.
  trust_.emplace(geteuid(), std::vector{folder_ / "a/b", folder_ / "none"});
  ExpectFlaw("a/b/file", "a", "may be written by everybody (mode 0777)", "chmod go-w");
  Chmod("c", 0777);
  trust_.emplace(geteuid(), std::vector{folder_ / "a"});
  ExpectFlaw("c/link", "c", "may be written by everybody (mode 0777)", "chmod go-w");
  if (geteuid() != 0) return;
  ASSERT_EQ(chown((folder_ / "a/b").c_str(), 12345, 12345), 0);
  ExpectFlaw("a/b/file", "a/b", "belongs to uid 12345", "chown root");
}

TEST_F(TrustTest, TheVariableNamesClosedDirectories) {
  Chmod("a", 0777);
  const std::string text = "/none::" + (folder_ / "a") + ":b:";
  ASSERT_EQ(setenv(kTrustVariable, text.c_str(), 1), 0);
  const Trust trust = Trust::OfThisProcess();
  EXPECT_THAT(RelativeInTrustVariable(), testing::ElementsAre("b"));
  ASSERT_EQ(unsetenv(kTrustVariable), 0);
  EXPECT_TRUE(trust.Find(folder_ / "a/b/file"));
  EXPECT_FALSE(Trust::OfThisProcess().Find(folder_ / "a/b/file"));
  EXPECT_THAT(RelativeInTrustVariable(), testing::IsEmpty());
}

// What is shown for a closed path can be given back as it stands.
TEST_F(TrustTest, SeveralModesAreExcusedTogether) {
  Chmod("a", 0777);
  Chmod("a/b", 0775);
  const auto found = trust_->Find(folder_ / "a/b/file");
  ASSERT_FALSE(found);
  EXPECT_THAT(found.error().error.message,
              testing::EndsWith("set LASTCALL_TRUST=" + (folder_ / "a") + ":" + (folder_ / "a/b")));
}

// Nobody would have to write into it for ever.
TEST_F(TrustTest, WhatIsNotAFileIsRefusedAndNotWaitedFor) {
  ASSERT_EQ(mkfifo((folder_ / "fifo").c_str(), 0600), 0);
  fs::create_symlink(folder_ / "fifo", folder_ / "link");
  for (const std::string& path : {folder_ / "fifo", folder_ / "link"}) {
    const auto found = trust_->Find(path);
    ASSERT_FALSE(found);
    EXPECT_EQ(found.error().error.code, Code::kInvalidArgument);
    EXPECT_EQ(found.error().error.message, path + ": is a named pipe (FIFO), not a regular file");
  }
  EXPECT_FALSE(trust_->Find("/dev/zero"));
}

TEST_F(TrustTest, RemediesCanBePasted) {
  folder_.Write("it's here/file", "");
  Chmod("it's here", 0777);
  const auto found = trust_->Find(folder_ / "it's here/file");
  ASSERT_FALSE(found);
  EXPECT_EQ(found.error().flaws.at(0).remedy, "chmod go-w '" + folder_.path() + "/it'\\''s here'");
}

TEST_F(TrustTest, NamesThatAreNoTextAreShownAndCanBePastedToo) {
  const std::string name = "a\n\xff'\\x9b\u202e";
  folder_.Write(name + "/file", "");
  Chmod(name, 0777);
  const auto found = trust_->Find(folder_ / (name + "/file"));
  ASSERT_FALSE(found);
  const Flaw& flaw = found.error().flaws.at(0);
  EXPECT_EQ(flaw.path, folder_.path() + "/a\\n\\xff'\\x9b\\u202e");
  EXPECT_TRUE(IsSafeText(found.error().error.message));
  folder_.Write("remedy", flaw.remedy);
  ASSERT_EQ(std::system(("LC_ALL=C.UTF-8 bash " + std::string(folder_ / "remedy")).c_str()), 0)
      << flaw.remedy;
  EXPECT_TRUE(trust_->Find(folder_ / (name + "/file")));
}

}  // namespace
}  // namespace lastcall
