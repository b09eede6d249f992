// The list of living calls: who is in it while others come and go.
#include "lastcall/rpc/live_calls.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <stop_token>
#include <thread>
#include <vector>

#include "fake_context.h"
#include "lastcall/rpc/live_call.h"

#include <lastcall/testing/fake_clock.h>

namespace lastcall {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::IsEmpty;

class LiveCallsTest : public testing::Test {
 protected:
  std::shared_ptr<LiveCall> Make() {
    clock_.Advance(1s);
    return std::make_shared<LiveCall>(context_.get(), method_,
                                      LiveCall::Identity{1, CallKind::kUnary, clock_.Now()},
                                      termination_, watch_);
  }
  std::shared_ptr<LiveCall> Enter() {
    auto call = Make();
    calls_.Enter(call);
    return call;
  }

  FakeClock clock_;
  const FakeContext context_;
  MethodTable methods_;
  CountedMethod& method_ = methods_.Of("/test.Service/Listed");
  const Termination termination_;
  ClientWatch watch_;
  LiveCalls calls_;
};

TEST_F(LiveCallsTest, ListsTheOldestFirstWhoeverEnteredFirst) {
  EXPECT_THAT(calls_.Snapshot(), IsEmpty());
  std::vector<std::shared_ptr<LiveCall>> made;
  for (int i = 0; i < 100; ++i) made.push_back(Make());
  for (auto call = made.rbegin(); call != made.rend(); ++call) calls_.Enter(*call);
  EXPECT_EQ(calls_.Snapshot(), made);
  for (const auto& call : made) calls_.Leave(*call);
  EXPECT_THAT(calls_.Snapshot(), IsEmpty());
}

TEST_F(LiveCallsTest, AnyoneMayLeaveFirst) {
  std::vector<size_t> order = {0, 1, 2};
  do {
    std::vector<std::shared_ptr<LiveCall>> there = {Enter(), Enter(), Enter()};
    const auto all = there;
    for (const size_t next : order) {
      calls_.Leave(*all[next]);
      std::erase(there, all[next]);
      EXPECT_EQ(calls_.Snapshot(), there);
    }
  } while (std::next_permutation(order.begin(), order.end()));
}

TEST_F(LiveCallsTest, WhoHasLeftMayEnterAgain) {
  const auto call = Enter();
  calls_.Leave(*call);
  calls_.Enter(call);
  EXPECT_THAT(calls_.Snapshot(), ElementsAre(call));
  calls_.Leave(*call);
}

TEST_F(LiveCallsTest, HoldsACallUntilItLeaves) {
  std::weak_ptr<LiveCall> weak;
  LiveCall* call = nullptr;
  {
    const auto entered = Enter();
    weak = entered;
    call = entered.get();
  }
  ASSERT_FALSE(weak.expired());
  auto last = calls_.Leave(*call);
  EXPECT_EQ(last.get(), call);
  EXPECT_EQ(last.use_count(), 1);
  last.reset();
  EXPECT_TRUE(weak.expired());
}

TEST_F(LiveCallsTest, SnapshotsHoldThoseWhoStayWhateverRaces) {
  constexpr size_t kThreads = 3;
  const std::vector<std::shared_ptr<LiveCall>> stay = {Enter(), Enter(), Enter()};
  int alone = 0, raced = 0;
  {
    std::vector<std::jthread> threads;
    for (size_t i = 0; i < kThreads; ++i) {
      threads.emplace_back([&](const std::stop_token& over) {
        while (!over.stop_requested()) {
          const auto one = Enter(), two = Enter();
          calls_.Leave(*one);
          calls_.Leave(*two);
        }
      });
    }
    for (int n = 0; (alone == 0 || raced == 0 || n < 2000) && n < 1'000'000; ++n) {
      auto seen = calls_.Snapshot();
      ASSERT_GE(seen.size(), stay.size());
      ASSERT_LE(seen.size(), stay.size() + 2 * kThreads);
      ++(seen.size() == stay.size() ? alone : raced);
      seen.resize(stay.size());  // they are the oldest
      ASSERT_EQ(seen, stay);
    }
  }
  EXPECT_GT(alone, 0);
  EXPECT_GT(raced, 0);
  EXPECT_EQ(calls_.Snapshot(), stay);
  for (const auto& call : stay) calls_.Leave(*call);
}

}  // namespace
}  // namespace lastcall
