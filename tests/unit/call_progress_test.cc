// What a call waits for, from what gRPC tells of its messages.
#include "lastcall/rpc/call_progress.h"

#include <gtest/gtest.h>

namespace lastcall {
namespace {

using namespace std::chrono_literals;

constexpr Instant kBegan{10s};

TEST(CallProgressTest, ItIsTheHandlersUntilTheHandlerWantsSomething) {
  const CallProgress progress(kBegan);
  EXPECT_EQ(progress.waits(), CallWaits::kHandler);
  EXPECT_EQ(progress.at(), kBegan);
}

TEST(CallProgressTest, AReadWaitsForInputUntilThereIsSome) {
  CallProgress progress(kBegan);
  progress.Reads();
  EXPECT_EQ(progress.waits(), CallWaits::kInput);
  EXPECT_EQ(progress.at(), kBegan);
  progress.Received(true, kBegan + 5s);
  EXPECT_EQ(progress.waits(), CallWaits::kHandler);
  EXPECT_EQ(progress.received(), 1u);
  EXPECT_EQ(progress.at(), kBegan + 5s);
}

TEST(CallProgressTest, TheEndOfTheInputIsNoMessage) {
  CallProgress progress(kBegan);
  progress.Reads();
  progress.Received(false, kBegan + 5s);
  EXPECT_EQ(progress.waits(), CallWaits::kHandler);
  EXPECT_EQ(progress.received(), 0u);
  EXPECT_EQ(progress.at(), kBegan);
}

TEST(CallProgressTest, AWriteWaitsForTheClientUntilItIsTaken) {
  CallProgress progress(kBegan);
  progress.Writes(kBegan + 1s);
  EXPECT_EQ(progress.waits(), CallWaits::kClient);
  EXPECT_EQ(progress.sent(), 0u);
  EXPECT_EQ(progress.at(), kBegan + 1s);
  progress.Sent(kBegan + 9s);
  EXPECT_EQ(progress.waits(), CallWaits::kHandler);
  EXPECT_EQ(progress.sent(), 1u);
  EXPECT_EQ(progress.at(), kBegan + 9s);
}

// A reactor reads ahead all the time.
TEST(CallProgressTest, OneThatReadsAndWritesWaitsForTheClientToTakeWhatIsWritten) {
  CallProgress progress(kBegan);
  progress.Reads();
  progress.Writes(kBegan);
  EXPECT_EQ(progress.waits(), CallWaits::kClient);
  progress.Sent(kBegan);
  EXPECT_EQ(progress.waits(), CallWaits::kInput);
}

}  // namespace
}  // namespace lastcall
