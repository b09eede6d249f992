// Who is asked for, how often, and by whom; the clients are functions here.
#include "lastcall/rpc/client_watch.h"

#include <gtest/gtest.h>

#include <atomic>
#include <barrier>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include "lastcall/event/latch.h"

namespace lastcall {
namespace {

using namespace std::chrono_literals;

TEST(ClientWatchTest, AsksUntilTheAnswerIsNo) {
  Latch gone, others;
  std::atomic<int> asked{0};
  ClientWatch watch(1ms);
  watch.Add([&] {
    if (++asked < 3) return true;
    gone.Set();
    return false;
  });
  gone.Wait();
  // Another one is asked many times more, this one is not.
  watch.Add([&, times = 0]() mutable {
    if (++times < 5) return true;
    others.Set();
    return false;
  });
  others.Wait();
  EXPECT_EQ(asked, 3);
}

TEST(ClientWatchTest, AsksEverybodyInOneThreadOfItsOwn) {
  constexpr int kClients = 20;
  std::atomic<int> left{kClients};
  Latch all;
  std::vector<std::thread::id> threads(kClients);
  ClientWatch watch(1ms);
  for (std::thread::id& thread : threads) {
    watch.Add([&] {
      thread = std::this_thread::get_id();
      if (--left == 0) all.Set();
      return false;
    });
  }
  all.Wait();
  for (const std::thread::id& thread : threads) EXPECT_EQ(thread, threads[0]);
  EXPECT_NE(threads[0], std::this_thread::get_id());
}

TEST(ClientWatchTest, AQuestionMayAddAnother) {
  Latch asked;
  ClientWatch watch(1ms);
  watch.Add([&] {
    watch.Add([&] {
      asked.Set();
      return false;
    });
    return false;
  });
  asked.Wait();
}

// It goes in the middle of a period, or with a question on its way; what asks goes with it.
TEST(ClientWatchTest, LetsGoOfEverybodyWhenItGoes) {
  for (const Duration period : {Duration(1ms), Duration(1h)}) {
    const auto held = std::make_shared<int>();
    std::optional<ClientWatch> watch(std::in_place, period);
    for (int i = 0; i < 100; ++i) watch->Add([held] { return true; });
    EXPECT_GE(held.use_count(), 2);
    watch.reset();
    EXPECT_EQ(held.use_count(), 1);
  }
}

TEST(ClientWatchTest, WhoIsNotAskedForAnyMoreIsLetGo) {
  struct Held {
    ~Held() { let_go.Set(); }
    Latch& let_go;
  };
  Latch let_go;
  ClientWatch watch(1ms);
  watch.Add([held = std::shared_ptr<Held>(new Held{let_go})] { return false; });
  let_go.Wait();
}

// It sleeps when nobody is there: whoever comes as the last one goes must wake it.
TEST(ClientWatchTest, NobodyIsForgottenWhateverRaces) {
  constexpr int kThreads = 3, kClients = 300;
  std::atomic<int> left{kThreads * kClients};
  Latch all;
  ClientWatch watch(1us);
  std::barrier start(kThreads);
  std::vector<std::jthread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&] {
      start.arrive_and_wait();
      for (int n = 0; n < kClients; ++n) {
        const auto answered = std::make_shared<std::atomic<bool>>(false);
        watch.Add([&, answered, again = n % 2 == 0]() mutable {
          if (std::exchange(again, false)) return true;
          *answered = true;
          answered->notify_one();
          if (--left == 0) all.Set();
          return false;
        });
        if (n % 3 == 0) answered->wait(false);
      }
    });
  }
  all.Wait();
}

}  // namespace
}  // namespace lastcall
