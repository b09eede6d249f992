// The last things of a daemon whose disk takes its time.
#include "daemon/conclusion.h"

#include <gtest/gtest.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>

#include <atomic>
#include <fstream>
#include <optional>
#include <sstream>
#include <string>
#include <thread>

#include <lastcall/event/latch.h>
#include <lastcall/testing/recording_log.h>

#include "temp_folder.h"

namespace lastcall {
namespace {

using namespace std::chrono_literals;

// The real one, and ahead of it.
class AheadClock final : public Clock {
 public:
  Instant Now() const override { return After(std::chrono::steady_clock::now(), ahead_.load()); }
  WallTime Wall() const override { return std::chrono::system_clock::now(); }
  void Advance(Duration length) { ahead_ = ahead_.load() + length; }

 private:
  std::atomic<Duration> ahead_{Duration::zero()};
};

class ConclusionTest : public testing::Test {
 protected:
  ConclusionTest() {
    folder_.Write("receipt.json", "the one before\n");
    disk_.sync = [this](int) {
      syncing_.Set();
      synced_.Wait();
      return 0;
    };
  }
  ~ConclusionTest() override {
    synced_.Set();
    while (readings_.running() > 0) std::this_thread::yield();
  }

  void Begin() {
    conclusion_.emplace(Conclusion::Parts{.loop = loop_,
                                          .clock = clock_,
                                          .log = log_.log(),
                                          .door = door_,
                                          .readings = readings_,
                                          .end_in_time = end_in_time_,
                                          .systemd = systemd_,
                                          .disk = disk_,
                                          .has_door = [] { return false; },
                                          .kept = [this] { kept_ = true; },
                                          .over = [] {}});
    conclusion_->Begin(Receipt{.subject = "lastcalld"}, folder_.path());
  }
  bool RunUntilKept() {
    while (!kept_) {
      if (context_.run_one_for(30s) == 0) return false;
    }
    return true;
  }
  std::string Kept() const {
    std::ostringstream text;
    text << std::ifstream(folder_ / "receipt.json").rdbuf();
    return text.str();
  }

  const TempFolder folder_;
  AheadClock clock_;
  RecordingLog log_;
  Latch syncing_, synced_;
  ReceiptDisk disk_ = ReceiptDisk::Real();
  boost::asio::io_context context_;
  const Executor loop_ = [this](Callback run) { boost::asio::post(context_, std::move(run)); };
  AdminDoor door_{context_, clock_, log_.log()};
  OffloadedReadings readings_{loop_, "lastcalld", "lastcall-host", clock_, log_.log()};
  EndInTime end_in_time_;
  const SystemdNotifier systemd_;
  std::optional<Conclusion> conclusion_;
  bool kept_ = false;
};

TEST_F(ConclusionTest, AReceiptThatWaitsForTheDiskAloneTakesItsPlace) {
  const auto work = boost::asio::make_work_guard(context_);
  Begin();
  syncing_.Wait();
  clock_.Advance(Conclusion::kReceiptPatience);
  readings_.OnTick();
  ASSERT_TRUE(RunUntilKept());
  EXPECT_NE(Kept().find("\"lastcalld\""), std::string::npos) << Kept();
  EXPECT_TRUE(log_.Said(LogLevel::kWarning, "a power cut now may lose the receipt"));
}

TEST_F(ConclusionTest, TheOneBeforeStaysUntilThen) {
  const auto work = boost::asio::make_work_guard(context_);
  Begin();
  syncing_.Wait();
  readings_.OnTick();
  EXPECT_EQ(Kept(), "the one before\n");
  EXPECT_FALSE(kept_);
  synced_.Set();
  ASSERT_TRUE(RunUntilKept());
  EXPECT_NE(Kept().find("\"lastcalld\""), std::string::npos) << Kept();
  EXPECT_FALSE(log_.Said(LogLevel::kWarning, "power cut"));
}

TEST_F(ConclusionTest, ADiskThatWritesNothingIsNamed) {
  const auto work = boost::asio::make_work_guard(context_);
  disk_.write = [this](int, const void*, size_t size) {
    syncing_.Set();
    synced_.Wait();
    return static_cast<ssize_t>(size);
  };
  Begin();
  syncing_.Wait();
  clock_.Advance(Conclusion::kReceiptPatience);
  readings_.OnTick();
  ASSERT_TRUE(RunUntilKept());
  EXPECT_EQ(Kept(), "the one before\n");
  EXPECT_TRUE(log_.Said(LogLevel::kWarning, "cannot keep the receipt in " + folder_.path()));
}

}  // namespace
}  // namespace lastcall
