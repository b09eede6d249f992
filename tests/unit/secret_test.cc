// Who may read a secret, by its mode and that of the folders above it.
#include "lastcall/base/secret.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "temp_folder.h"

namespace lastcall {
namespace {

constexpr gid_t kTheirs = 12345;

class SecretTest : public testing::Test {
 protected:
  SecretTest() {
    umask(022);
    key_ = folder_.Write("keys/key", "secret");
    Set(folder_.path(), 0755);
  }

  static void Set(const std::string& path, mode_t mode) { ASSERT_EQ(chmod(path.c_str(), mode), 0); }
  void ExpectSecret() { EXPECT_FALSE(FindReaders(key_)) << FindReaders(key_)->what; }
  void ExpectReaders(const std::string& what, const std::string& remedy) {
    const auto readers = FindReaders(key_);
    ASSERT_TRUE(readers);
    EXPECT_EQ(readers->path, key_);
    EXPECT_EQ(readers->what, "may be read by " + what);
    EXPECT_EQ(readers->remedy, remedy + " " + key_);
  }

  TempFolder folder_;
  std::string key_;
};

TEST_F(SecretTest, OwnersAloneAreFew) {
  for (const mode_t mode : {0600, 0400, 0640, 0622}) {
    Set(key_, mode);
    ExpectSecret();
  }
}

TEST_F(SecretTest, EverybodyIsTooMany) {
  Set(key_, 0644);
  ExpectReaders("everybody (mode 0644)", "chmod o-r");
  Set(key_, 0604);
  ExpectReaders("everybody (mode 0604)", "chmod o-r");
}

TEST_F(SecretTest, NobodyGetsThroughAClosedFolder) {
  Set(key_, 0644);
  Set(folder_ / "keys", 0710);
  ExpectSecret();
  Set(folder_ / "keys", 0711);
  ExpectReaders("everybody (mode 0644)", "chmod o-r");
  Set(folder_.path(), 0700);
  ExpectSecret();
}

TEST_F(SecretTest, WhatALinkLeadsToCounts) {
  Set(key_, 0644);
  const std::string link = folder_ / "link";
  ASSERT_EQ(symlink("keys/key", link.c_str()), 0);
  const auto readers = FindReaders(link);
  ASSERT_TRUE(readers);
  EXPECT_EQ(readers->path, key_);
}

TEST_F(SecretTest, AnotherGroupMayBeAnybody) {
  if (geteuid() != 0) GTEST_SKIP() << "only root can give files away";
  ASSERT_EQ(chown(key_.c_str(), 0, kTheirs), 0);
  Set(key_, 0640);
  ExpectReaders("the group 12345 (mode 0640)", "chmod go-r");
  Set(key_, 0644);
  ExpectReaders("everybody (mode 0644)", "chmod go-r");
  Set(key_, 0640);
  Set(folder_ / "keys", 0700);
  ExpectSecret();
  // Their own folder lets them in, and nobody else.
  ASSERT_EQ(chown((folder_ / "keys").c_str(), 0, kTheirs), 0);
  Set(folder_ / "keys", 0750);
  ExpectReaders("the group 12345 (mode 0640)", "chmod go-r");
  Set(key_, 0604);
  ExpectSecret();
}

TEST_F(SecretTest, AMissingFileIsForOthersToTell) { EXPECT_FALSE(FindReaders(folder_ / "none")); }

}  // namespace
}  // namespace lastcall
