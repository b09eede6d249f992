// Where the admin socket of a daemon without a configuration goes, and what helps where it cannot.
#include "daemon/environment_check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <string>

#include "temp_folder.h"

namespace lastcall {
namespace {

using testing::HasSubstr;

constexpr char kOfTheirs[] = "; set XDG_RUNTIME_DIR to a directory of yours, or unset it";
constexpr char kInTmp[] = "; remove it, or set XDG_RUNTIME_DIR to a directory of yours";

class RuntimeDirTest : public testing::Test {
 protected:
  ~RuntimeDirTest() override { std::filesystem::remove_all(in_tmp_); }

  void ExpectMade(const char* runtime, const std::string& path) {
    for (int i = 0; i < 2; ++i) {  // or there already
      const auto made = MakeRuntimeDir(runtime, user_);
      ASSERT_TRUE(made) << made.error().message;
      EXPECT_EQ(*made, path);
      struct stat status {};
      ASSERT_EQ(stat(path.c_str(), &status), 0);
      EXPECT_EQ(status.st_mode, S_IFDIR | 0700u);
    }
  }
  void ExpectRefused(const char* runtime, const std::string& message) {
    const auto refused = MakeRuntimeDir(runtime, user_);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().message, message);
  }

  TempFolder folder_;
  // Somebody who has no such directory in /tmp yet.
  const uid_t user_ = 4'000'000'000U + static_cast<uid_t>(getpid());
  const std::string in_tmp_ = "/tmp/lastcall-" + std::to_string(user_);
};

TEST_F(RuntimeDirTest, IsMadeWhereTheVariableSays) {
  ExpectMade(folder_.path().c_str(), folder_ / "lastcall");
  EXPECT_FALSE(std::filesystem::exists(in_tmp_));
}

TEST_F(RuntimeDirTest, IsMadeInTmpWithoutTheVariable) { ExpectMade(nullptr, in_tmp_); }
TEST_F(RuntimeDirTest, AnEmptyVariableIsNone) { ExpectMade("", in_tmp_); }

TEST_F(RuntimeDirTest, WhereItCannotBeMadeTheVariableIsAtFault) {
  const std::string missing = folder_ / "missing";
  ExpectRefused(missing.c_str(),
                missing +
                    "/lastcall, for the admin socket, cannot be made: No such file or "
                    "directory" +
                    kOfTheirs);
}

TEST_F(RuntimeDirTest, WhatOthersMayWriteToIsNotOurs) {
  ExpectMade(folder_.path().c_str(), folder_ / "lastcall");
  ASSERT_EQ(chmod((folder_ / "lastcall").c_str(), 0770), 0);
  ExpectRefused(folder_.path().c_str(),
                folder_ / "lastcall" + ", for the admin socket, is not a directory of ours alone" +
                    kOfTheirs);
}

TEST_F(RuntimeDirTest, WhatIsInItsPlaceInTmpIsToBeRemoved) {
  for (const char* runtime : {static_cast<const char*>(nullptr), ""}) {
    std::filesystem::create_symlink(folder_.path(), in_tmp_);  // as anybody could have made it
    ExpectRefused(runtime,
                  in_tmp_ + ", for the admin socket, is not a directory of ours alone" + kInTmp);
    std::filesystem::remove(in_tmp_);
  }
}

TEST(EnvironmentCheckTest, ProcIsNeededWithItsDescriptors) {
  const TempFolder proc;
  const auto missing = CheckProc(proc.path());
  ASSERT_FALSE(missing);
  EXPECT_THAT(missing.error().message, HasSubstr("cannot look into " + proc.path()));
  std::filesystem::create_directories(proc / "self/fd");
  EXPECT_TRUE(CheckProc(proc.path()));
}

}  // namespace
}  // namespace lastcall
