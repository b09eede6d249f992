// The host's end of the control channel, where the supervisor does not read for a while.
#include "host/control.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "await_asleep.h"

namespace lastcall {
namespace {

using namespace std::chrono_literals;
using host::v1::FromHost;

class HostControlTest : public testing::Test {
 protected:
  HostControlTest() {
    auto ends = Channel::Pair();
    supervisor_ = std::move(ends->first);
    host_end_ = std::move(ends->second);
    UniqueFd again(dup(host_end_->fd()));
    plugin_.emplace(std::move(again));
  }
  ~HostControlTest() override { control_->End(); }

  void Begin(Duration for_last_words = HostControl::kForLastWords) {
    control_.emplace(std::move(*host_end_), logger_, for_last_words);
    control_->Begin(host_);
  }

  // What a plugin of the same process may do.
  void Fill() {
    while (plugin_->TrySend(FromHost()) == Channel::Sent::kYes) continue;
  }

  // What the supervisor reads until the host is ready, or for some seconds.
  std::vector<FromHost> ReadUntilReady() {
    std::vector<FromHost> read;
    const auto until = std::chrono::steady_clock::now() + 10s;
    while (std::chrono::steady_clock::now() < until) {
      FromHost message;
      if (supervisor_->TryReceive(message, nullptr) != Channel::Received::kYes) {
        std::this_thread::sleep_for(1ms);
        continue;
      }
      if (message.message_case() != FromHost::MESSAGE_NOT_SET) read.push_back(message);
      if (message.has_ready()) break;
    }
    return read;
  }

  Logger logger_{"host_control_test", LogLevel::kInfo};
  Host host_{HostOptions{}};
  std::optional<Channel> supervisor_;
  std::optional<Channel> plugin_, host_end_;
  std::optional<HostControl> control_;
};

TEST_F(HostControlTest, WhatFindsNoRoomWaitsForItAndHoldsNobodyUp) {
  Begin();
  Fill();
  const auto began = std::chrono::steady_clock::now();
  for (int i = 0; i < 10; ++i) control_->Constructing("plugin " + std::to_string(i));
  control_->Ready();
  EXPECT_LT(std::chrono::steady_clock::now() - began, 1s);
  std::this_thread::sleep_for(500ms);  // longer than any patience
  const auto read = ReadUntilReady();
  ASSERT_EQ(read.size(), 12u);
  EXPECT_TRUE(read.front().has_hello());
  for (int i = 0; i < 10; ++i) {
    EXPECT_EQ(read[static_cast<size_t>(i) + 1].constructing().what(),
              "plugin " + std::to_string(i));
  }
  EXPECT_TRUE(read.back().has_ready());
}

TEST_F(HostControlTest, GetsThroughAFlood) {
  Begin();
  std::jthread flood([this](std::stop_token stop) {
    while (!stop.stop_requested()) plugin_->TrySend(FromHost());
  });
  std::this_thread::sleep_for(50ms);
  control_->Ready();
  const auto read = ReadUntilReady();
  ASSERT_FALSE(read.empty());
  EXPECT_TRUE(read.back().has_ready());
}

TEST_F(HostControlTest, LastWordsHoldTheEndUpForAMomentOnly) {
  Begin();
  Fill();
  const auto began = std::chrono::steady_clock::now();
  control_->Finished(Receipt());
  EXPECT_LT(std::chrono::steady_clock::now() - began, 10s);
}

TEST_F(HostControlTest, LastWordsAreSentWhenTheSupervisorReadsInTime) {
  Begin(10s);
  Fill();
  std::atomic<pid_t> teller{0};
  std::atomic<bool> reads{false};
  std::jthread late([&] {
    AwaitAsleep(teller);
    reads = true;
    FromHost message;
    for (int i = 0; i < 100; ++i) supervisor_->TryReceive(message, nullptr);
  });
  teller = gettid();
  control_->Finished(Receipt());
  EXPECT_TRUE(reads) << "the process would have ended before it was sent";
  bool seen = false;
  late.join();
  FromHost message;
  while (supervisor_->TryReceive(message, nullptr) == Channel::Received::kYes) {
    seen = seen || message.has_receipt();
  }
  EXPECT_TRUE(seen);
}

}  // namespace
}  // namespace lastcall
