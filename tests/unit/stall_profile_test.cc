// Many looks at one thread as a tree that a reader can take in.
#include "lastcall/host/stall_profile.h"

#include <gmock/gmock.h>

namespace lastcall {
namespace {

using namespace std::chrono_literals;

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;
using testing::StartsWith;

using Stack = std::vector<std::string>;

// Outermost frames as gRPC's are.
Stack In(const std::string& function, int offset) {
  return {function + "(long)+0x" + std::to_string(offset) + " in shop.so",
          "Handle(Query const&)+0x7 in shop.so",
          "Run()+0x1 in libgrpc++.so",
          "Poll()+0x2 in libgrpc++.so",
          "Thread()+0x3 in libgpr.so",
          "clone+0x4 in libc.so.6"};
}

class StallProfileTest : public testing::Test {
 protected:
  // Takes them all, and says how many that were.
  size_t Fill(size_t most = StallProfile::kSamples) {
    size_t samples = 0;
    while (!profile_.complete() && samples < most) {
      now_ = profile_.due();
      profile_.Add(In(samples % 2 == 0 ? "Parse" : "Write", static_cast<int>(samples)), now_);
      ++samples;
    }
    return samples;
  }

  Instant now_{1h};
  StallProfile profile_;
};

TEST_F(StallProfileTest, IsATreeOfFunctionsWithCountsAndShares) {
  profile_.Begin(7, 4711, now_);
  EXPECT_EQ(Fill(), 20u);
  const Duration took = now_ - Instant(1h);
  EXPECT_THAT(
      profile_.Take(now_),
      ElementsAre("20 looks at thread 4711 in " + FormatDuration(took),
                  "20 (100 %) Poll() in libgrpc++.so", "20 (100 %) Run() in libgrpc++.so",
                  "20 (100 %) Handle(Query const&) in shop.so",
                  "  10 (50 %) Parse(long) in shop.so", "  10 (50 %) Write(long) in shop.so"));
  EXPECT_FALSE(profile_.active());
  EXPECT_EQ(profile_.due(), kNever);
}

TEST_F(StallProfileTest, IsSpreadOverSecondsAndNotInStep) {
  profile_.Begin(7, 4711, now_);
  std::set<Duration> pauses;
  for (Instant before = now_; !profile_.complete(); before = now_) {
    now_ = profile_.due();
    profile_.Add(In("Parse", 1), now_);
    pauses.insert(now_ - before);
  }
  EXPECT_GT(now_ - Instant(1h), 3s);
  EXPECT_LT(now_ - Instant(1h), 6s);
  EXPECT_GT(pauses.size(), 10u);
}

TEST_F(StallProfileTest, OfFewLooksNothingIsSaid) {
  profile_.Begin(7, 4711, now_);
  Fill(StallProfile::kLeast - 1);
  EXPECT_THAT(profile_.Take(now_), IsEmpty());
  profile_.Begin(7, 4711, now_);
  Fill(StallProfile::kLeast);
  EXPECT_THAT(profile_.Take(now_)[0], StartsWith("5 looks at thread 4711 in "));
}

TEST_F(StallProfileTest, LooksThatFailAreNotCountedAndHoldNothingUp) {
  profile_.Begin(7, 4711, now_);
  for (size_t i = 0; i < StallProfile::kSamples; ++i) profile_.Add({}, now_);
  EXPECT_TRUE(profile_.complete());
  EXPECT_THAT(profile_.Take(now_), IsEmpty());
}

TEST_F(StallProfileTest, HasNoMoreLinesThanIsBearable) {
  std::vector<Stack> stacks;
  for (int i = 0; i < 20; ++i) {
    Stack deep;
    for (int j = 0; j < 40; ++j) deep.push_back("F" + std::to_string(i) + "_" + std::to_string(j));
    stacks.push_back(deep);
  }
  EXPECT_THAT(ProfileOf(stacks, 30), SizeIs(testing::Le(30u)));
}

TEST_F(StallProfileTest, WhereInAFunctionDoesNotMatter) {
  EXPECT_EQ(WithoutOffset("Parse(long)+0x1f in shop.so"), "Parse(long) in shop.so");
  EXPECT_EQ(WithoutOffset("Parse(long) in shop.so"), "Parse(long) in shop.so");
  EXPECT_EQ(WithoutOffset("shop.so+0x1234"), "shop.so+0x1234") << "there is nothing else to go by";
  EXPECT_TRUE(IsSamePlace(In("Parse", 1), In("Parse", 2)));
  EXPECT_FALSE(IsSamePlace(In("Parse", 1), In("Write", 1)));
  EXPECT_TRUE(IsSamePlace({}, {}));
  EXPECT_FALSE(IsSamePlace({}, In("Parse", 1)));
}

}  // namespace
}  // namespace lastcall
