// Watchers see the newest status of each stage, then the receipt, then the end.
#include "daemon/admin/watch_hub.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "await_asleep.h"

namespace lastcall {
namespace {

admin::v1::Status StatusOf(v1::Stage stage, double uptime_s = 0) {
  admin::v1::Status status;
  status.set_stage(stage);
  status.set_uptime_s(uptime_s);
  return status;
}

admin::v1::ReceiptEvent ReceiptOf(const std::string& json) {
  admin::v1::ReceiptEvent receipt;
  receipt.set_json(json);
  return receipt;
}

class WatchHubTest : public testing::Test {
 protected:
  // The next event in one word: its stage, its receipt, or "end". Blocks where there is none.
  static std::string Next(WatchHub::Watcher& watcher, const std::stop_token& stop = {}) {
    const auto event = watcher.Next(stop);
    if (!event) return "end";
    if (event->has_handover()) return "handover";
    return event->has_receipt() ? "receipt " + event->receipt().json()
                                : v1::Stage_Name(event->status().stage());
  }
  // The same, from a watcher that waits already when `happen` runs.
  template <class F>
  static std::string NextAfter(WatchHub::Watcher& watcher, F happen,
                               const std::stop_token& stop = {}) {
    std::string word;
    std::atomic<pid_t> waiter{0};
    {
      const std::jthread thread([&] {
        waiter = gettid();
        word = Next(watcher, stop);
      });
      AwaitAsleep(waiter);
      happen();
    }
    return word;
  }

  WatchHub hub_;
};

TEST_F(WatchHubTest, AWatcherSeesWhatIsPublishedFromThenOn) {
  hub_.Publish(StatusOf(v1::STAGE_STARTING));
  WatchHub::Watcher watcher(hub_);
  hub_.Publish(StatusOf(v1::STAGE_SERVING));
  EXPECT_EQ(Next(watcher), "STAGE_SERVING");
  EXPECT_EQ(NextAfter(watcher, [&] { hub_.Publish(StatusOf(v1::STAGE_DELAY)); }), "STAGE_DELAY");
}

TEST_F(WatchHubTest, ASlowWatcherSkipsWhatWasOvertakenButNoStage) {
  WatchHub::Watcher watcher(hub_);
  for (const double second : {1, 2, 3}) hub_.Publish(StatusOf(v1::STAGE_SERVING, second));
  for (const v1::Stage stage : {v1::STAGE_DELAY, v1::STAGE_GRACE}) hub_.Publish(StatusOf(stage));
  EXPECT_EQ(watcher.Next({})->status().uptime_s(), 3);
  EXPECT_EQ(Next(watcher), "STAGE_DELAY");
  EXPECT_EQ(Next(watcher), "STAGE_GRACE");
  hub_.Publish(StatusOf(v1::STAGE_GRACE));
  EXPECT_EQ(Next(watcher), "STAGE_GRACE");
}

TEST_F(WatchHubTest, TheReceiptComesAfterTheNewestStatusAndThenTheEnd) {
  WatchHub::Watcher watcher(hub_);
  hub_.Publish(StatusOf(v1::STAGE_CANCEL));
  hub_.Publish(StatusOf(v1::STAGE_STOPPED));
  hub_.Close(ReceiptOf("{}"));
  EXPECT_EQ(Next(watcher), "STAGE_CANCEL");
  EXPECT_EQ(Next(watcher), "STAGE_STOPPED");
  EXPECT_EQ(Next(watcher), "receipt {}");
  EXPECT_EQ(Next(watcher), "end");
  EXPECT_EQ(Next(watcher), "end");
}

TEST_F(WatchHubTest, AHandoverSendsWatchersAwayUntilItIsOver) {
  WatchHub::Watcher watcher(hub_);
  hub_.Publish(StatusOf(v1::STAGE_SERVING));
  hub_.HandOver();
  EXPECT_EQ(Next(watcher), "STAGE_SERVING");
  EXPECT_EQ(Next(watcher), "handover");
  EXPECT_EQ(Next(watcher), "end");
  WatchHub::Watcher too_late(hub_);
  EXPECT_EQ(Next(too_late), "handover");
  hub_.Reopen();
  WatchHub::Watcher later(hub_);
  EXPECT_EQ(NextAfter(later, [&] { hub_.Publish(StatusOf(v1::STAGE_DELAY)); }), "STAGE_DELAY");
}

TEST_F(WatchHubTest, AHandoverWakesAWaitingWatcher) {
  WatchHub::Watcher watcher(hub_);
  EXPECT_EQ(NextAfter(watcher, [&] { hub_.HandOver(); }), "handover");
}

TEST_F(WatchHubTest, TheReceiptWakesAWaitingWatcher) {
  WatchHub::Watcher watcher(hub_);
  EXPECT_EQ(NextAfter(watcher, [&] { hub_.Close(ReceiptOf("{}")); }), "receipt {}");
}

// The loop may have a status under way when it closes.
TEST_F(WatchHubTest, NothingComesAfterTheReceipt) {
  WatchHub::Watcher early(hub_), late(hub_);
  hub_.Close(ReceiptOf("{}"));
  EXPECT_EQ(Next(early), "receipt {}");
  hub_.Publish(StatusOf(v1::STAGE_STOPPED));
  EXPECT_EQ(Next(early), "end");
  EXPECT_EQ(Next(late), "receipt {}");
  EXPECT_EQ(Next(late), "end");
}

TEST_F(WatchHubTest, AWatcherThatComesAfterTheReceiptStillGetsIt) {
  hub_.Publish(StatusOf(v1::STAGE_STOPPED));
  hub_.Close(ReceiptOf("{}"));
  WatchHub::Watcher watcher(hub_);
  EXPECT_EQ(Next(watcher), "receipt {}");
  EXPECT_EQ(Next(watcher), "end");
}

TEST_F(WatchHubTest, WatchersDoNotTakeEventsFromEachOther) {
  WatchHub::Watcher quick(hub_), slow(hub_);
  hub_.Publish(StatusOf(v1::STAGE_DELAY));
  EXPECT_EQ(Next(quick), "STAGE_DELAY");
  hub_.Publish(StatusOf(v1::STAGE_GRACE));
  EXPECT_EQ(Next(quick), "STAGE_GRACE");
  EXPECT_EQ(Next(slow), "STAGE_DELAY");
  EXPECT_EQ(Next(slow), "STAGE_GRACE");
  hub_.Close(ReceiptOf("{}"));
  EXPECT_EQ(Next(slow), "receipt {}");
  EXPECT_EQ(Next(quick), "receipt {}");
}

TEST_F(WatchHubTest, AStopWakesItsWatcherAlone) {
  WatchHub::Watcher gone(hub_), staying(hub_);
  std::stop_source stop;
  EXPECT_EQ(NextAfter(
                gone, [&] { stop.request_stop(); }, stop.get_token()),
            "end");
  hub_.Publish(StatusOf(v1::STAGE_DELAY));
  EXPECT_EQ(Next(staying), "STAGE_DELAY");
}

TEST_F(WatchHubTest, KnowsWhetherAnybodyWatches) {
  EXPECT_FALSE(hub_.HasWatchers());
  {
    const WatchHub::Watcher one(hub_);
    { const WatchHub::Watcher two(hub_); }
    EXPECT_TRUE(hub_.HasWatchers());
  }
  EXPECT_FALSE(hub_.HasWatchers());
}

// However fast it goes: every watcher sees each stage, and then the receipt.
TEST_F(WatchHubTest, NobodyMissesAStageOrTheReceipt) {
  constexpr int kStages = 500;
  std::atomic<int> watching{0};
  std::vector<std::jthread> watchers;
  for (int i = 0; i < 4; ++i) {
    watchers.emplace_back([&] {
      WatchHub::Watcher watcher(hub_);
      ++watching;
      int newest = -1;
      auto event = watcher.Next({});
      for (; event && event->has_status(); event = watcher.Next({})) {
        EXPECT_EQ(static_cast<int>(event->status().stage()), newest + 1);
        newest = event->status().stage();
      }
      ASSERT_TRUE(event && event->has_receipt());
      EXPECT_EQ(newest, kStages - 1);
      EXPECT_EQ(Next(watcher), "end");
    });
  }
  while (watching < 4) std::this_thread::yield();
  for (int i = 0; i < kStages; ++i) hub_.Publish(StatusOf(static_cast<v1::Stage>(i)));
  hub_.Close(ReceiptOf("{}"));
}

}  // namespace
}  // namespace lastcall
