// Stages in Boost.Asio: tokens, coroutines, futures, cancelling, threads.
#include "lastcall/asio/asio_termination.h"

#include <gtest/gtest.h>

#include <boost/asio/bind_executor.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/use_future.hpp>

#include <barrier>
#include <future>
#include <stdexcept>
#include <thread>
#include <vector>

namespace lastcall {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;

constexpr Instant kNow{std::chrono::seconds(1000)};

class AsioTerminationTest : public testing::Test {
 protected:
  asio::io_context io_;
  TerminationSource source_;
  AsioTermination<asio::io_context::executor_type> termination_{io_.get_executor(), source_.view()};
};

TEST_F(AsioTerminationTest, AHandlerRunsInTheLoopWhenTheStageIsReached) {
  std::vector<error_code> seen;
  termination_.AsyncReached(Stage::kGrace, [&](error_code error) { seen.push_back(error); });
  EXPECT_EQ(io_.poll(), 0u);
  EXPECT_FALSE(io_.stopped()) << "what waits keeps the loop at work";
  source_.Reach(Stage::kDelay, kNow);
  EXPECT_EQ(io_.poll(), 0u);
  source_.Reach(Stage::kGrace, kNow);
  EXPECT_TRUE(seen.empty()) << "in the loop, not in the host's thread";
  io_.run();
  EXPECT_EQ(seen, std::vector{error_code()});
}

TEST_F(AsioTerminationTest, AReachedStageCompletesSoonButNotInside) {
  source_.Reach(Stage::kGrace, kNow);
  int seen = 0;
  for (int i = 0; i < 2; ++i) {
    termination_.AsyncReached(Stage::kGrace, [&](error_code) { ++seen; });
    EXPECT_EQ(seen, i);
    io_.run();
    io_.restart();
    EXPECT_EQ(seen, i + 1);
  }
}

TEST_F(AsioTerminationTest, CoroutinesGoOn) {
  std::vector<Stage> seen;
  const auto follow = [&]() -> asio::awaitable<void> {
    for (const Stage stage : {Stage::kDelay, Stage::kGrace, Stage::kCancel, Stage::kStopped}) {
      co_await termination_.AsyncReached(stage, asio::use_awaitable);
      seen.push_back(stage);
    }
  };
  for (int i = 0; i < 3; ++i) asio::co_spawn(io_, follow(), asio::detached);
  io_.poll();
  source_.Reach(Stage::kGrace, kNow);
  io_.poll();
  EXPECT_EQ(seen.size(), 6u);
  source_.Reach(Stage::kStopped, kNow);
  io_.run();
  EXPECT_EQ(seen.size(), 12u);
}

TEST_F(AsioTerminationTest, CancelEndsWhatWaitsAndNothingElse) {
  std::vector<error_code> seen;
  const auto note = [&](error_code error) { seen.push_back(error); };
  termination_.AsyncReached(Stage::kGrace, note);
  termination_.AsyncReached(Stage::kStopped, note);
  EXPECT_EQ(termination_.Cancel(), 2u);
  EXPECT_EQ(termination_.Cancel(), 0u);
  io_.run();
  EXPECT_EQ(seen, std::vector(2, error_code(asio::error::operation_aborted)));
  io_.restart();
  termination_.AsyncReached(Stage::kGrace, note);
  source_.Reach(Stage::kGrace, kNow);
  io_.run();
  EXPECT_EQ(seen.back(), error_code()) << "the object lives on";
}

TEST(AsioTerminationEndTest, DestructionEndsWhatWaits) {
  asio::io_context io;
  TerminationSource source;
  error_code seen;
  {
    AsioTermination termination(io.get_executor(), source.view());
    termination.AsyncReached(Stage::kGrace, [&](error_code error) { seen = error; });
  }
  source.Reach(Stage::kGrace, kNow);
  io.run();
  EXPECT_EQ(seen, error_code(asio::error::operation_aborted));
}

TEST(AsioTerminationEndTest, ALoopThatGoesWithHandlersWaitingDestroysThem) {
  auto captured = std::make_shared<int>(0);
  TerminationSource source;
  {
    asio::io_context io;
    AsioTermination termination(io.get_executor(), source.view());
    termination.AsyncReached(Stage::kGrace, [captured](error_code) {});
    const auto wait = [&, captured]() -> asio::awaitable<void> {
      co_await termination.AsyncReached(Stage::kGrace, asio::use_awaitable);
    };
    asio::co_spawn(io, wait(), asio::detached);
    io.poll();
  }
  EXPECT_EQ(captured.use_count(), 1);
}

// Each loop below goes while something waits that owns the AsioTermination it waits by; the stage
// is reached afterwards.
TEST(AsioTerminationEndTest, ALoopThatGoesDestroysCoroutinesThatOwnTheirTermination) {
  auto captured = std::make_shared<int>(0);
  TerminationSource source;
  {
    asio::io_context io;
    const auto wait = [&source, captured]() -> asio::awaitable<void> {
      AsioTermination termination(co_await asio::this_coro::executor, source.view());
      co_await termination.AsyncReached(Stage::kGrace, asio::use_awaitable);
    };
    asio::co_spawn(io, wait(), asio::detached);
    asio::co_spawn(asio::make_strand(io), wait(), asio::detached);
    io.poll();
    EXPECT_GT(captured.use_count(), 1);
  }
  EXPECT_EQ(captured.use_count(), 1);
  source.Reach(Stage::kGrace, kNow);
}

TEST(AsioTerminationEndTest, ALoopThatGoesDestroysSessionsThatHoldThemselves) {
  struct Session : std::enable_shared_from_this<Session> {
    Session(asio::any_io_executor executor, Termination view)
        : termination(std::move(executor), std::move(view)) {}
    void Start() {
      for (const Stage stage : {Stage::kDelay, Stage::kGrace}) {
        termination.AsyncReached(stage, [self = shared_from_this()](error_code) { FAIL(); });
      }
    }
    AsioTermination<asio::any_io_executor> termination;
  };
  TerminationSource source;
  std::weak_ptr<Session> in_loop, in_pool;
  {
    asio::io_context io;
    asio::thread_pool pool(1);
    const auto start = [&](asio::any_io_executor executor) {
      auto session = std::make_shared<Session>(std::move(executor), source.view());
      session->Start();
      return session;
    };
    in_loop = start(io.get_executor());
    in_pool = start(pool.get_executor());
    EXPECT_FALSE(in_loop.expired() || in_pool.expired());
    pool.stop();
    source.Reach(Stage::kDelay, kNow);  // posted, and never run
  }
  EXPECT_TRUE(in_loop.expired() && in_pool.expired());
  source.Reach(Stage::kGrace, kNow);
}

// The race of the stage with the end of the loop: posted into it, or not any more.
TEST(AsioTerminationEndTest, AStageMayBeReachedWhileTheLoopGoes) {
  for (int round = 0; round < 500; ++round) {
    TerminationSource source;
    auto io = std::make_unique<asio::io_context>();
    const auto wait = [&source]() -> asio::awaitable<void> {
      AsioTermination termination(co_await asio::this_coro::executor, source.view());
      co_await termination.AsyncReached(Stage::kGrace, asio::use_awaitable);
    };
    for (int i = 0; i < 3; ++i) asio::co_spawn(*io, wait(), asio::detached);
    io->poll();
    std::barrier start(2);
    std::jthread host([&] {
      start.arrive_and_wait();
      source.Reach(Stage::kGrace, kNow);
    });
    start.arrive_and_wait();
    io.reset();
  }
}

TEST_F(AsioTerminationTest, FuturesAndMoveOnlyHandlersWork) {
  std::future<void> future = termination_.AsyncReached(Stage::kGrace, asio::use_future);
  int seen = 0;
  termination_.AsyncReached(Stage::kGrace,
                            [&, one = std::make_unique<int>(1)](error_code) { seen += *one; });
  std::jthread loop([&] { io_.run(); });
  source_.Reach(Stage::kGrace, kNow);
  future.get();
  loop.join();
  EXPECT_EQ(seen, 1);
}

TEST_F(AsioTerminationTest, AHandlerRunsInItsOwnExecutor) {
  asio::thread_pool pool(1);
  std::thread::id in_pool, seen;
  asio::post(pool, [&] { in_pool = std::this_thread::get_id(); });
  termination_.AsyncReached(
      Stage::kGrace, asio::bind_executor(pool.get_executor(),
                                         [&](error_code) { seen = std::this_thread::get_id(); }));
  source_.Reach(Stage::kGrace, kNow);
  io_.run();
  pool.join();
  EXPECT_EQ(seen, in_pool);
}

TEST_F(AsioTerminationTest, AHandlerThatThrowsEndsNoOther) {
  int seen = 0;
  termination_.AsyncReached(Stage::kGrace, [&](error_code) { ++seen; });
  termination_.AsyncReached(Stage::kGrace, [](error_code) { throw std::runtime_error("oh"); });
  termination_.AsyncReached(Stage::kGrace, [&](error_code) { ++seen; });
  source_.Reach(Stage::kGrace, kNow);
  EXPECT_THROW(io_.run(), std::runtime_error);
  EXPECT_EQ(seen, 1);
  io_.run();
  EXPECT_EQ(seen, 2);
}

TEST_F(AsioTerminationTest, AHandlerThatStopsTheLoopLeavesTheOthersForItsNextRun) {
  int seen = 0;
  const auto stop = [&](error_code) {
    ++seen;
    io_.stop();
  };
  AsioTermination<asio::any_io_executor> any(io_.get_executor(), source_.view());
  for (int i = 0; i < 20; ++i) {
    termination_.AsyncReached(Stage::kGrace, stop);
    any.AsyncReached(Stage::kGrace, stop);
  }
  source_.Reach(Stage::kGrace, kNow);
  for (const int expected : {16, 32, 36, 40}) {  // the two by turns; fifteen may follow the first
    io_.run();
    EXPECT_EQ(seen, expected);
    io_.restart();
  }
  EXPECT_EQ(io_.run(), 0u);
}

// The race of AsyncReached and Cancel with Reach, by four threads: each operation completes once,
// and both outcomes are seen.
TEST(AsioTerminationRaceTest, EveryOperationCompletesOnceWhateverHappensFirst) {
  int reached = 0, aborted = 0;
  for (int round = 0; (reached == 0 || aborted == 0 || round < 200) && round < 20'000; ++round) {
    asio::thread_pool pool(2);
    TerminationSource source;
    AsioTermination termination(pool.get_executor(), source.view());
    std::atomic<int> in_time{0}, cancelled{0};
    std::barrier start(4);
    {
      std::vector<std::jthread> threads;
      for (int i = 0; i < 2; ++i) {
        threads.emplace_back([&] {
          start.arrive_and_wait();
          for (int n = 0; n < 50; ++n) {
            termination.AsyncReached(Stage::kGrace,
                                     [&](error_code error) { ++(error ? cancelled : in_time); });
          }
        });
      }
      threads.emplace_back([&] {
        start.arrive_and_wait();
        for (int n = 0; n < round % 20; ++n) termination.Cancel();
      });
      start.arrive_and_wait();
      for (int n = 0; n < round % 7; ++n) std::this_thread::yield();
      source.Reach(Stage::kGrace, kNow);
    }
    pool.join();
    ASSERT_EQ(in_time + cancelled, 100);
    reached += in_time;
    aborted += cancelled;
  }
  EXPECT_GT(reached, 0);
  EXPECT_GT(aborted, 0);
}

// The stage is reached while coroutines in a loop of two threads begin to wait: one thread may
// complete an operation and free its coroutine's frame while the other is still adding it.
TEST(AsioTerminationRaceTest, ACoroutineMayBeOverBeforeItsWaitHasBegunToReturn) {
  int early = 0, late = 0;
  for (int round = 0; (early == 0 || late == 0 || round < 200) && round < 20'000; ++round) {
    asio::io_context io;
    TerminationSource source;
    AsioTermination termination(io.get_executor(), source.view());
    std::atomic<int> before{0}, after{0};
    const auto wait = [&]() -> asio::awaitable<void> {
      ++(termination.view().Reached(Stage::kGrace) ? after : before);
      co_await termination.AsyncReached(Stage::kGrace, asio::use_awaitable);
    };
    for (int i = 0; i < 50; ++i) asio::co_spawn(io, wait(), asio::detached);
    std::barrier start(3);
    {
      std::vector<std::jthread> loops;
      for (int i = 0; i < 2; ++i) {
        loops.emplace_back([&] {
          start.arrive_and_wait();
          io.run();
        });
      }
      start.arrive_and_wait();
      for (int n = 0; n < round % 40; ++n) std::this_thread::yield();
      source.Reach(Stage::kGrace, kNow);
    }
    ASSERT_EQ(before + after, 50);
    early += before;
    late += after;
  }
  EXPECT_GT(early, 0);
  EXPECT_GT(late, 0);
}

}  // namespace
}  // namespace lastcall
