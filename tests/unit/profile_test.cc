// Many stacks as one tree.
#include "lastcall/threads/profile.h"

#include <gmock/gmock.h>

namespace lastcall {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

using Stack = std::vector<std::string>;

TEST(ProfileTest, OneWayHasNoIndentAndWhereWaysPartTheMostFrequentComesFirst) {
  std::vector<Stack> stacks(12, Stack{"Parse", "Handle", "main"});
  stacks.insert(stacks.end(), 8, Stack{"Write", "Handle", "main"});
  EXPECT_THAT(MergeStacks(stacks), ElementsAre("20 main", "20 Handle", "  12 Parse", "  8 Write"));
}

TEST(ProfileTest, TheSameFunctionInTwoWaysIsTwoLines) {
  EXPECT_THAT(MergeStacks({{"Lock", "A", "main"}, {"Lock", "B", "main"}}),
              ElementsAre("2 main", "  1 A", "  1 Lock", "  1 B", "  1 Lock"));
}

TEST(ProfileTest, AStackThatIsTheBeginningOfAnotherCounts) {
  EXPECT_THAT(MergeStacks({{"main"}, {"Handle", "main"}}), ElementsAre("2 main", "1 Handle"));
}

TEST(ProfileTest, WhatIsSeldomIsCountedTogether) {
  std::vector<Stack> stacks(57, Stack{"Often", "main"});
  stacks.insert(stacks.end(), {{"One", "main"}, {"Two", "main"}, {"Three", "main"}});
  EXPECT_THAT(MergeStacks(stacks), ElementsAre("60 main", "  57 Often", "  … 3 in other places"));
}

TEST(ProfileTest, ItIsBoundedInLines) {
  std::vector<Stack> stacks;
  for (int i = 0; i < 10; ++i) stacks.push_back(Stack(64, "f" + std::to_string(i)));
  EXPECT_THAT(MergeStacks(stacks, 20), SizeIs(testing::Le(20U)));
  EXPECT_THAT(MergeStacks(stacks, 0), IsEmpty());
  EXPECT_THAT(MergeStacks({}), IsEmpty());
  EXPECT_THAT(MergeStacks({{}, {}}), IsEmpty());
}

}  // namespace
}  // namespace lastcall
