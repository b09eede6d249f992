// systemd hears that the daemon is alive from nobody but its loop, and only where its admin answers.
#include "daemon/watchdog.h"

#include <gtest/gtest.h>

#include <functional>
#include <thread>
#include <utility>
#include <vector>

namespace lastcall {
namespace {

using namespace std::chrono_literals;

constexpr Duration kPatience = 40ms;  // systemd's: a beat each 10 ms

class WatchdogTest : public testing::Test {
 protected:
  Watchdog Make(Watchdog::Ask ask, Duration patience = kPatience) {
    return Watchdog({.loop = loop_, .patience = patience, .ask = std::move(ask), .beat = [this] {
                       beats_.push_back(std::this_thread::get_id());
                     }});
  }
  // Until so many beats came.
  void RunUntil(size_t beats) {
    while (beats_.size() < beats) loop_.run_one();
  }

  boost::asio::io_context loop_{1};
  std::vector<std::thread::id> beats_;
};

TEST_F(WatchdogTest, EveryAnswerIsABeatInTheLoopsThread) {
  std::vector<std::thread> threads;
  Watchdog watchdog = Make([&](std::function<void()> answered) {
    threads.emplace_back(std::move(answered));
    return true;
  });
  watchdog.Begin();
  RunUntil(3);
  for (std::thread& thread : threads) thread.join();
  EXPECT_GE(threads.size(), 3u);
  for (const auto& thread : beats_) EXPECT_EQ(thread, std::this_thread::get_id());
}

TEST_F(WatchdogTest, AnAnswerIsNoBeatWhileTheLoopIsBlocked) {
  int asked = 0;
  Watchdog watchdog = Make([&](const std::function<void()>& answered) {
    ++asked;
    std::thread(answered).join();  // and the loop has not turned since
    return true;
  });
  watchdog.Begin();
  EXPECT_EQ(asked, 1);
  EXPECT_TRUE(beats_.empty());
  RunUntil(1);
}

TEST_F(WatchdogTest, AnAdminThatDoesNotAnswerHasNoBeats) {
  int asked = 0;
  Watchdog watchdog = Make([&](const std::function<void()>&) { return ++asked > 0; });
  watchdog.Begin();
  while (asked < 20) loop_.run_one();
  EXPECT_TRUE(beats_.empty());
}

TEST_F(WatchdogTest, OneThatAnswersAgainHasThemAgain) {
  int asked = 0;
  Watchdog watchdog = Make([&](const std::function<void()>& answered) {
    if (++asked > 10) answered();
    return true;
  });
  watchdog.Begin();
  RunUntil(1);
  EXPECT_EQ(asked, 11);
}

TEST_F(WatchdogTest, WhereNobodyIsTakenInTheLoopAloneCounts) {
  Watchdog watchdog = Make([](const std::function<void()>&) { return false; });
  watchdog.Begin();
  RunUntil(3);
}

TEST_F(WatchdogTest, WhereSystemdDoesNotWaitNobodyIsAsked) {
  int asked = 0;
  Watchdog watchdog = Make([&](const std::function<void()>&) { return ++asked > 0; }, 0ms);
  watchdog.Begin();
  EXPECT_EQ(loop_.poll(), 0u);
  EXPECT_EQ(asked, 0);
}

TEST_F(WatchdogTest, AnAnswerThatComesWhenItIsGoneIsNoBeat) {
  std::function<void()> late;
  {
    Watchdog watchdog = Make([&](std::function<void()> answered) {
      late = std::move(answered);
      return true;
    });
    watchdog.Begin();
  }
  late();
  loop_.poll();
  EXPECT_TRUE(beats_.empty());
}

}  // namespace
}  // namespace lastcall
