// Files are regular and bounded: nothing that is read can hold its reader up by what it is.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <lastcall/base/regular_file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <string>
#include <thread>

#include "temp_folder.h"

namespace lastcall {
namespace {

using ::testing::HasSubstr;

class RegularFileTest : public ::testing::Test {
 protected:
  Result<std::string> Read(const std::string& path, size_t most = 100) {
    const auto fd = OpenRegular(path);
    if (!fd) return tl::unexpected(fd.error());
    return ReadUpTo(most, fd->get(), path);
  }
  void ExpectRefused(const std::string& path, const std::string& why) {
    const auto text = Read(path);
    ASSERT_FALSE(text) << path;
    EXPECT_EQ(text.error().message, path + ": " + why);
  }

  TempFolder folder_;
};

TEST_F(RegularFileTest, AFileIsReadUpToItsBound) {
  EXPECT_EQ(Read(folder_.Write("file", std::string(100, 'x'))), std::string(100, 'x'));
  ExpectRefused(folder_.Write("large", std::string(101, 'x')), "is larger than 100 bytes");
}

TEST_F(RegularFileTest, AFifoIsNotWaitedFor) {
  ASSERT_EQ(mkfifo((folder_ / "fifo").c_str(), 0600), 0);
  ExpectRefused(folder_ / "fifo", "is a named pipe (FIFO), not a regular file");
}

TEST_F(RegularFileTest, WhatIsNoFileIsNamed) {
  ExpectRefused("/dev/zero", "is a device, not a regular file");
  ExpectRefused(folder_.path(), "is a directory, not a regular file");
  ExpectRefused(folder_ / "none", "cannot be read: No such file or directory");
}

// Its size is known before it is read; there is nothing of it on the disk.
TEST_F(RegularFileTest, ATerabyteIsRefusedAtOnce) {
  const std::string path = folder_.Write("sparse", "");
  ASSERT_EQ(truncate(path.c_str(), off_t{1} << 40), 0);
  ExpectRefused(path, "is larger than 100 bytes");
}

// Files of /proc say that they are empty.
TEST_F(RegularFileTest, AFileThatDoesNotKnowItsSizeIsBoundedToo) {
  ExpectRefused("/proc/self/status", "is larger than 100 bytes");
}

TEST_F(RegularFileTest, APipeIsReadToItsEndAndBounded) {
  for (const int flags : {0, O_NONBLOCK}) {
    int ends[2];
    ASSERT_EQ(pipe2(ends, flags), 0);
    UniqueFd reading(ends[0]), writing(ends[1]);
    std::thread writer([&] {
      EXPECT_EQ(write(writing.get(), "one ", 4), 4);
      EXPECT_EQ(write(writing.get(), "two", 3), 3);
      writing.Reset();
    });
    EXPECT_EQ(ReadUpTo(7, reading.get(), "pipe"), std::string("one two"));
    writer.join();
  }
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  const UniqueFd reading(ends[0]), writing(ends[1]);
  EXPECT_EQ(write(writing.get(), "12345678", 8), 8);  // and goes on
  const auto text = ReadUpTo(7, reading.get(), "pipe");
  ASSERT_FALSE(text);
  EXPECT_EQ(text.error().message, "pipe: is larger than 7 bytes");
}

TEST(FormatSizeTest, WholeUnits) {
  EXPECT_EQ(FormatSize(1536), "1536 bytes");
  EXPECT_EQ(FormatSize(1 << 20), "1 MiB");
  EXPECT_EQ(FormatSize(size_t{1} << 40), "1024 GiB");
}

}  // namespace
}  // namespace lastcall
