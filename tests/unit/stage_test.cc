// The stage table: every stage, every happening.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include <lastcall/lifecycle/stage.h>

namespace lastcall {
namespace {

// As in the header's table, read line by line; the columns are kHappenings in order.
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

TEST(StageTest, EveryHappeningLeadsWhereTheTableSays) {
  ASSERT_EQ(std::size(kTable), kStages.size());
  ASSERT_EQ(kTable[0].next.size(), kHappenings.size());
  for (const Row& row : kTable) {
    for (size_t i = 0; i < kHappenings.size(); ++i) {
      EXPECT_EQ(Next(row.stage, kHappenings[i]), row.next[i])
          << Name(row.stage) << " × " << Name(kHappenings[i]);
    }
  }
}

TEST(StageTest, NoHappeningLeadsBack) {
  for (const Stage stage : kStages) {
    for (const Happening happening : kHappenings) {
      EXPECT_GE(Next(stage, happening), stage) << Name(stage) << " × " << Name(happening);
    }
  }
}

TEST(StageTest, NamesAreTheWordsOfTheContract) {
  std::vector<std::string> names;
  for (const Stage stage : kStages) names.emplace_back(Name(stage));
  EXPECT_EQ(names, (std::vector<std::string>{"starting", "serving", "delay", "grace", "cancel",
                                             "stopped"}));
  names.clear();
  for (const Happening happening : kHappenings) names.emplace_back(Name(happening));
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
