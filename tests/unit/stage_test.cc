// The stage table: every stage, every event.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include <lastcall/lifecycle/stage.h>

namespace lastcall {
namespace {

// As in the header's table, read line by line; the columns are kEvents in order.
struct Row {
  Stage stage;
  std::array<Stage, 7> next;
};

constexpr Stage kStarting = Stage::kStarting, kServing = Stage::kServing, kDelay = Stage::kDelay,
                kGrace = Stage::kGrace, kCancel = Stage::kCancel, kStopped = Stage::kStopped;

constexpr Row kTable[] = {
    // clang-format off
    //           ready      stop      instant    quiet      idle       done       failed
    {kStarting, {kServing,  kCancel,  kStarting, kStarting, kStarting, kStarting, kStopped}},
    {kServing,  {kServing,  kDelay,   kServing,  kServing,  kServing,  kServing,  kStopped}},
    {kDelay,    {kDelay,    kDelay,   kGrace,    kGrace,    kDelay,    kDelay,    kStopped}},
    {kGrace,    {kGrace,    kGrace,   kCancel,   kGrace,    kCancel,   kGrace,    kStopped}},
    {kCancel,   {kCancel,   kCancel,  kStopped,  kCancel,   kCancel,   kStopped,  kStopped}},
    {kStopped,  {kStopped,  kStopped, kStopped,  kStopped,  kStopped,  kStopped,  kStopped}},
    // clang-format on
};

TEST(StageTest, EveryEventLeadsWhereTheTableSays) {
  ASSERT_EQ(std::size(kTable), kStages.size());
  ASSERT_EQ(kTable[0].next.size(), kEvents.size());
  for (const Row& row : kTable) {
    for (size_t i = 0; i < kEvents.size(); ++i) {
      EXPECT_EQ(Next(row.stage, kEvents[i]), row.next[i])
          << Name(row.stage) << " × " << Name(kEvents[i]);
    }
  }
}

TEST(StageTest, NoEventLeadsBack) {
  for (const Stage stage : kStages) {
    for (const Event event : kEvents) {
      EXPECT_GE(Next(stage, event), stage) << Name(stage) << " × " << Name(event);
    }
  }
}

TEST(StageTest, NamesAreTheWordsOfTheContract) {
  std::vector<std::string> names;
  for (const Stage stage : kStages) names.emplace_back(Name(stage));
  EXPECT_EQ(names, (std::vector<std::string>{"starting", "serving", "delay", "grace", "cancel",
                                             "stopped"}));
  names.clear();
  for (const Event event : kEvents) names.emplace_back(Name(event));
  EXPECT_EQ(names, (std::vector<std::string>{"ready", "request", "instant", "quiet", "idle", "done",
                                             "failed"}));
}

TEST(StageTest, AcceptsInServingAndDelayAndStopsFromDelayOn) {
  std::string accepting, stopping;
  for (const Stage stage : kStages) {
    if (Accepts(stage)) accepting += std::string(Name(stage)) + " ";
    if (IsStopping(stage)) stopping += std::string(Name(stage)) + " ";
  }
  EXPECT_EQ(accepting, "serving delay ");
  EXPECT_EQ(stopping, "delay grace cancel stopped ");
}

}  // namespace
}  // namespace lastcall
