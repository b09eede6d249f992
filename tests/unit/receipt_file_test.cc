// The receipt's file on a disk that refuses: the one of the daemon before survives, whole.
#include "daemon/receipt_file.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "temp_folder.h"

namespace lastcall {
namespace {

constexpr char kOld[] = "the receipt of the daemon before\n";
constexpr char kNew[] = "the receipt of this one\n";

std::string ReceiptText(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

int Refuse(int error) {
  errno = error;
  return -1;
}

class ReceiptFileTest : public testing::Test {
 protected:
  ReceiptFileTest() { folder_.Write("receipt.json", kOld); }

  Result<> Write() { return WriteReceipt(folder_.path(), kNew, disk_); }

  // By name.
  std::vector<std::string> Files() const {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(folder_.path())) {
      names.push_back(entry.path().filename());
    }
    std::sort(names.begin(), names.end());
    return names;
  }

  void ExpectTheOldOne(const Result<>& written, const std::string& why) const {
    ASSERT_FALSE(written);
    EXPECT_NE(written.error().message.find(folder_ / "receipt.json: " + why), std::string::npos)
        << written.error().message;
    EXPECT_EQ(ReceiptText(folder_ / "receipt.json"), kOld);
    EXPECT_EQ(Files(), std::vector<std::string>{"receipt.json"});
  }

  TempFolder folder_;
  ReceiptDisk disk_ = ReceiptDisk::Real();
};

TEST_F(ReceiptFileTest, TakesThePlaceOfTheOneBefore) {
  ASSERT_TRUE(Write());
  EXPECT_EQ(ReceiptText(folder_ / "receipt.json"), kNew);
  EXPECT_EQ(Files(), std::vector<std::string>{"receipt.json"});
}

TEST_F(ReceiptFileTest, TheOneBeforeSurvivesADiskThatIsFullAfterAPart) {
  disk_.write = [](int fd, const void* data, size_t) {
    return lseek(fd, 0, SEEK_END) == 0 ? write(fd, data, 5) : Refuse(ENOSPC);
  };
  ExpectTheOldOne(Write(), "No space left on device; make room on its file system");
}

TEST_F(ReceiptFileTest, TheOneBeforeSurvivesADiskThatFailsAfterTheWrite) {
  disk_.sync = [](int) { return Refuse(EIO); };
  ExpectTheOldOne(Write(), "Input/output error");
}

TEST_F(ReceiptFileTest, WhoPublishesOneThatHasFailedMeanwhileIsNotToldThatItIsKept) {
  std::atomic<bool> written = false;
  disk_.sync = [&](int) {
    EXPECT_TRUE(written);
    return Refuse(EIO);
  };
  EXPECT_FALSE(WriteReceipt(folder_.path(), kNew, disk_, &written));
  EXPECT_FALSE(PublishReceipt(folder_.path(), written));
  EXPECT_EQ(ReceiptText(folder_ / "receipt.json"), kOld);
}

TEST_F(ReceiptFileTest, WhoPublishesOneThatHasItsPlaceAlreadyLosesNothing) {
  std::atomic<bool> written = false;
  ASSERT_TRUE(WriteReceipt(folder_.path(), kNew, disk_, &written));
  EXPECT_TRUE(PublishReceipt(folder_.path(), written));
  EXPECT_EQ(ReceiptText(folder_ / "receipt.json"), kNew);
}

TEST_F(ReceiptFileTest, TheOneBeforeSurvivesARenameThatFails) {
  disk_.rename = [](const char*, const char*) { return Refuse(EDQUOT); };
  ExpectTheOldOne(Write(), "Disk quota exceeded; make room on its file system");
}

// What a power cut leaves.
TEST_F(ReceiptFileTest, IsWholeOnTheDiskBeforeItTakesThatPlace) {
  std::vector<std::string> steps;
  disk_.sync = [&](int) {
    steps.push_back("sync");
    EXPECT_EQ(ReceiptText(folder_ / "receipt.json.new"), kNew);
    EXPECT_EQ(ReceiptText(folder_ / "receipt.json"), kOld);
    return 0;
  };
  disk_.rename = [&](const char* from, const char* to) {
    steps.push_back("rename");
    return rename(from, to);
  };
  ASSERT_TRUE(Write());
  EXPECT_EQ(steps, (std::vector<std::string>{"sync", "rename"}));
}

TEST_F(ReceiptFileTest, IsWholeWhereTheDiskTakesItByteByByteAndIsInterrupted) {
  int writes = 0;
  disk_.write = [&](int fd, const void* data, size_t) {
    return ++writes % 2 == 0 ? Refuse(EINTR) : write(fd, data, 1);
  };
  ASSERT_TRUE(Write());
  EXPECT_EQ(ReceiptText(folder_ / "receipt.json"), kNew);
}

}  // namespace
}  // namespace lastcall
