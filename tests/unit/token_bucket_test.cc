// So many at once, then so many a second.
#include <gtest/gtest.h>

#include <lastcall/base/token_bucket.h>

namespace lastcall {
namespace {

using namespace std::chrono_literals;

int Taken(TokenBucket& bucket, Instant now) {
  int taken = 0;
  while (bucket.TryTake(now)) ++taken;
  return taken;
}

TEST(TokenBucketTest, GivesItsBurstAndThenItsRate) {
  TokenBucket bucket({8, 2});
  const Instant start(1h);
  EXPECT_EQ(Taken(bucket, start), 8);
  EXPECT_EQ(Taken(bucket, start), 0);
  EXPECT_EQ(Taken(bucket, start + 500ms), 1);
  EXPECT_EQ(Taken(bucket, start + 2s), 3);
}

TEST(TokenBucketTest, HoldsNoMoreThanItsBurst) {
  TokenBucket bucket({8, 2});
  const Instant start(1h);
  EXPECT_EQ(Taken(bucket, start + 24h), 8);
  EXPECT_EQ(Taken(bucket, start + 48h), 8);
}

TEST(TokenBucketTest, GivesNothingForATimeThatIsOver) {
  TokenBucket bucket({1, 1});
  const Instant start(1h);
  EXPECT_TRUE(bucket.TryTake(start));
  EXPECT_FALSE(bucket.TryTake(start - 10s));
  EXPECT_FALSE(bucket.TryTake(start));
  EXPECT_TRUE(bucket.TryTake(start + 1s));
}

}  // namespace
}  // namespace lastcall
