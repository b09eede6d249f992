// Servers where calls that make no progress hold every thread: named; merely busy ones: not.
#include "lastcall/host/full_servers.h"

#include <gmock/gmock.h>

#include <list>

#include "fake_context.h"
#include "lastcall/event/latch.h"
#include "lastcall/rpc/call_registry.h"
#include "lastcall/rpc/live_call.h"
#include "own_thread.h"

#include <lastcall/testing/fake_clock.h>

namespace lastcall {
namespace {

using namespace std::chrono_literals;

using testing::HasSubstr;
using testing::SizeIs;
using testing::StartsWith;

class FullServersTest : public testing::Test {
 protected:
  ~FullServersTest() override {
    for (const auto& call : begun_) calls_.End(*call);
    end_.Set();
  }

  // A call whose handler's thread waits for a lock.
  LiveCall& Begin(const char* method, CallKind kind = CallKind::kUnary) {
    auto call = calls_.Begin(contexts_.emplace_back().get(), calls_.Method(method), kind);
    const OwnThread& thread = threads_.emplace_back([this] { end_.Wait(); });
    thread.AwaitIn("futex");
    call->Started(thread.id());
    begun_.push_back(call);
    return *call;
  }
  // Looks at once, and says what the server is full of.
  std::string Look(size_t threads, size_t reflections = 0, Duration slowest = {}) {
    Crowd crowd{.server = "public", .threads = threads, .reflections = reflections};
    for (const auto& call : begun_) {
      crowd.calls.push_back({call, call->method().name, PatienceWith(*call, slowest, 10s)});
    }
    full_servers_.Look(clock_.Now(), forgiven_, {crowd});
    const auto full = full_servers_.full().find("public");
    return full == full_servers_.full().end() ? "" : full->second.by;
  }
  std::string LookAfter(Duration length, size_t threads) {
    clock_.Advance(length);
    return Look(threads);
  }
  const FullServers::Full& full() const { return full_servers_.full().at("public"); }

  FakeClock clock_;
  Instant forgiven_ = Instant::min();
  Latch end_;
  std::list<FakeContext> contexts_;
  std::list<OwnThread> threads_;
  CallRegistry calls_{clock_, Termination(), [] {}};
  std::vector<std::shared_ptr<LiveCall>> begun_;
  FullServers full_servers_;
};

TEST_F(FullServersTest, WhoHoldsEveryThreadIsNamedWithWhyWithinASecond) {
  Begin("/s/Slow");
  Begin("/s/Slow");
  Begin("/s/Other");
  EXPECT_EQ(LookAfter(250ms, 3), "");
  EXPECT_EQ(LookAfter(250ms, 3),
            "3 of 3 threads are held by /s/Slow (blocked in futex for 500ms, 2 calls) and /s/Other "
            "(blocked in futex for 500ms)");
  EXPECT_THAT(full().line, StartsWith("full: 3 of 3 threads of server public are held by /s/Slow "
                                      "(blocked in futex for 500ms, 2 calls) and "));
  EXPECT_THAT(full().line, HasSubstr(": new calls of server public are refused with "
                                     "RESOURCE_EXHAUSTED"));
  EXPECT_THAT(full().threads, SizeIs(2)) << "one of each method";
  EXPECT_EQ(full().age, 500ms);
}

TEST_F(FullServersTest, WhileOneMakesProgressItIsBusyAndNotFull) {
  LiveCall& stream = Begin("/s/Stream", CallKind::kServerStream);
  Begin("/s/Slow");
  for (int i = 0; i < 20; ++i) {
    stream.progress().Sent(clock_.Now());
    EXPECT_EQ(LookAfter(250ms, 2), "");
  }
  LookAfter(500ms, 2);
  EXPECT_NE(LookAfter(500ms, 2), "");
}

TEST_F(FullServersTest, AThreadThatIsFreeIsEnough) {
  Begin("/s/Slow");
  EXPECT_EQ(LookAfter(5s, 2), "");
  EXPECT_EQ(LookAfter(5s, 2), "");
}

TEST_F(FullServersTest, ACallThatIsBeingRefusedChangesNothing) {
  Begin("/s/Slow");
  LookAfter(400ms, 1);
  clock_.Advance(400ms);
  Begin("/s/Refused");
  EXPECT_THAT(Look(1), StartsWith("1 of 1 thread is held by /s/Slow"));
}

TEST_F(FullServersTest, OneThatIsAboutToEndIsNone) {
  Begin("/s/Slow").Returned();
  LookAfter(5s, 1);
  EXPECT_EQ(LookAfter(5s, 1), "");
}

TEST_F(FullServersTest, CallsThatTakeAsLongAsUsualAreNoNews) {
  Begin("/s/Slow");
  const auto look = [this] {
    clock_.Advance(500ms);
    return Look(1, 0, 2s);
  };
  for (int i = 1; i < 8; ++i) EXPECT_EQ(look(), "") << i;
  EXPECT_NE(look(), "") << "at twice as long";
}

TEST_F(FullServersTest, StreamsOfReflectionHoldThreadsToo) {
  Begin("/s/Slow");
  Look(3, 2);
  clock_.Advance(300ms);
  Look(3, 2);
  clock_.Advance(300ms);
  EXPECT_EQ(Look(3, 2),
            "3 of 3 threads are held by /s/Slow (blocked in futex for 600ms) and 2 "
            "clients of reflection");
}

TEST_F(FullServersTest, WhatAStreamWaitsForIsSaid) {
  Begin("/s/Chat", CallKind::kBidiStream).progress().Reads();
  LookAfter(300ms, 1);
  EXPECT_EQ(LookAfter(300ms, 1),
            "1 of 1 thread is held by /s/Chat (its client sends nothing, for 600ms)");
}

TEST_F(FullServersTest, NobodyIsBlamedForATimeInWhichNothingRan) {
  Begin("/s/Slow");
  clock_.Advance(1h);
  forgiven_ = clock_.Now();
  EXPECT_EQ(LookAfter(250ms, 1), "");
  EXPECT_NE(LookAfter(250ms, 1), "");
}

TEST_F(FullServersTest, TheSameMethodsHaveTheSameSignature) {
  Begin("/s/A");
  Begin("/s/B");
  LookAfter(1s, 2);
  LookAfter(1s, 2);
  const std::string before = full().signature;
  LookAfter(10s, 2);
  EXPECT_EQ(full().signature, before);
  EXPECT_EQ(before, "full public /s/A /s/B");
}

TEST(PatienceTest, IsTwiceTheUsualWithinItsBounds) {
  FakeClock clock;
  const FakeContext context;
  CallRegistry calls(clock, Termination(), [] {});
  const auto unary = calls.Begin(context.get(), calls.Method("/s/Unary"), CallKind::kUnary);
  EXPECT_EQ(PatienceWith(*unary, 0s, 10s), 500ms);
  EXPECT_EQ(PatienceWith(*unary, 400ms, 10s), 800ms);
  EXPECT_EQ(PatienceWith(*unary, 1h, 3s), 3s);
  EXPECT_EQ(PatienceWith(*unary, 1h, kForever), 10s);
  EXPECT_EQ(PatienceWith(*unary, 1h, 1ms), 500ms);
  calls.End(*unary);

  const FakeContext other;
  const auto stream = calls.Begin(other.get(), calls.Method("/s/Stream"), CallKind::kServerStream);
  EXPECT_EQ(PatienceWith(*stream, 1h, 10s), 500ms) << "of a stream, only its own messages tell";
  for (int i = 0; i < 4; ++i) {
    clock.Advance(1s);
    stream->progress().Sent(clock.Now());
  }
  EXPECT_EQ(PatienceWith(*stream, 0s, 10s), 2s);
  calls.End(*stream);
}

TEST(DescribeHoldersTest, NamesAFewMethodsAndCountsTheOthers) {
  std::vector<Holder> holders;
  for (int i = 0; i < 6; ++i) holders.push_back({"/s/M" + std::to_string(i), "on CPU", 1s});
  holders.push_back({"/s/M5", "blocked", 2s});
  EXPECT_EQ(
      DescribeHolders(7, " of server s", 0, holders),
      "7 of 7 threads of server s are held by /s/M5 (blocked, 2 calls) and /s/M0 (on CPU) and "
      "/s/M1 (on CPU) and /s/M2 (on CPU) and 2 calls of other methods");
  EXPECT_EQ(DescribeHolders(1, "", 0, {{"/s/M", "", 1s}}), "1 of 1 thread is held by /s/M");
}

}  // namespace
}  // namespace lastcall
