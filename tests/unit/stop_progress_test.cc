// What is promised of a stop, and how often its watchers see it; on a loop that the test turns.
#include "daemon/stop_progress.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>
#include <utility>
#include <vector>

#include <boost/asio/post.hpp>

#include <lastcall/testing/fake_clock.h>

namespace lastcall {
namespace {

using std::chrono::seconds;
using testing::ElementsAre;
using testing::IsEmpty;

constexpr Duration kRest = StopProgress::kAfterwards;
constexpr Duration kBit = StopProgress::kPromise;

class StopProgressTest : public testing::Test {
 protected:
  // What was promised since the last time.
  std::vector<Duration> Promised() { return std::exchange(promised_, {}); }
  // One more refresh, and with it a look at the plan.
  void Refresh() {
    const int before = refreshed_;
    while (refreshed_ == before && loop_.run_one() > 0) {
    }
    ASSERT_EQ(refreshed_, before + 1);
  }

  FakeClock clock_;
  Instant end_ = kNever;
  std::vector<Duration> promised_;
  int refreshed_ = 0;
  boost::asio::io_context loop_;
  std::optional<StopProgress> progress_{
      std::in_place, loop_, clock_,
      StopProgress::Effects{.end = [this] { return end_; },
                            .promise = [this](Duration length) { promised_.push_back(length); },
                            .refresh = [this] { ++refreshed_; }},
      Duration::zero()};
};

TEST_F(StopProgressTest, NothingBeginsByItself) {
  EXPECT_EQ(loop_.poll(), 0u);
  EXPECT_THAT(Promised(), IsEmpty());
}

TEST_F(StopProgressTest, AStopWithAnEndIsPromisedOnce) {
  end_ = clock_.Now() + seconds(20);
  progress_->Begin();
  EXPECT_THAT(Promised(), ElementsAre(seconds(20) + kRest)) << "at once, and with what comes after";
  for (int i = 0; i < 4; ++i) {
    clock_.Advance(seconds(4));
    Refresh();
  }
  progress_->Begin();
  EXPECT_THAT(Promised(), IsEmpty()) << "it is the same";
}

TEST_F(StopProgressTest, AnEndThatMovesIsPromisedAgainWhenItIsLater) {
  end_ = clock_.Now() + seconds(20);
  progress_->Begin();
  EXPECT_THAT(Promised(), ElementsAre(seconds(20) + kRest));
  end_ -= seconds(10);
  Refresh();
  EXPECT_THAT(Promised(), IsEmpty()) << "systemd may wait for longer than it has to";
  end_ += seconds(10);
  Refresh();
  EXPECT_THAT(Promised(), IsEmpty()) << "that was promised before";
  clock_.Advance(seconds(5));
  end_ += seconds(1);
  Refresh();
  EXPECT_THAT(Promised(), ElementsAre(seconds(16) + kRest));
}

TEST_F(StopProgressTest, AStopWithoutEndIsPromisedBitByBit) {
  progress_->Begin();
  EXPECT_THAT(Promised(), ElementsAre(kBit));
  clock_.Advance(kBit / 2 - seconds(1));
  Refresh();
  EXPECT_THAT(Promised(), IsEmpty()) << "more than half of it is left";
  clock_.Advance(seconds(1));
  Refresh();
  EXPECT_THAT(Promised(), ElementsAre(kBit)) << "long before the last one is over";
  // It gets an end: that is nothing new while it lies in what was promised.
  end_ = clock_.Now() + kBit - kRest;
  Refresh();
  EXPECT_THAT(Promised(), IsEmpty());
  end_ += seconds(1);
  Refresh();
  EXPECT_THAT(Promised(), ElementsAre(kBit + seconds(1)));
}

TEST_F(StopProgressTest, ItIsRefreshedUntilItsEnd) {
  progress_->Begin();
  for (int i = 0; i < 3; ++i) Refresh();
  progress_->End();
  loop_.run();  // nothing is waited for any more, or this would not return
  EXPECT_EQ(refreshed_, 3);
  loop_.restart();
  progress_->Begin();
  EXPECT_EQ(loop_.poll(), 0u) << "not even by a stage that comes late";
}

TEST_F(StopProgressTest, AfterTheEndNothingIsWaitedFor) {
  StopProgress slow(loop_, clock_, {[] { return kNever; }, [](Duration) {}, [] {}},
                    std::chrono::hours(1));
  slow.Begin();
  EXPECT_EQ(loop_.poll(), 0u);
  slow.End();
  EXPECT_EQ(loop_.poll(), 1u) << "it is over already";
}

// A refresh that is due is on its way when the end comes.
TEST_F(StopProgressTest, NothingIsRefreshedAfterTheEnd) {
  progress_->Begin();
  boost::asio::post(loop_, [this] { progress_->End(); });
  loop_.run();
  EXPECT_EQ(refreshed_, 0);
}

TEST_F(StopProgressTest, ItMayGoWhileItWaits) {
  progress_->Begin();
  progress_.reset();
  loop_.run();
  EXPECT_EQ(refreshed_, 0);
}

}  // namespace
}  // namespace lastcall
