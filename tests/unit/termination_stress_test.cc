// Waiters of every kind are made, cancelled and destroyed while stages are reached, until every
// outcome of every kind was seen. Made for ThreadSanitizer.
#include <gtest/gtest.h>
#include <poll.h>

#include <array>
#include <atomic>
#include <barrier>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "lastcall/lifecycle/termination.h"

#include "steady_now.h"

namespace lastcall {
namespace {

using namespace std::chrono_literals;

constexpr std::array kStages{Stage::kDelay, Stage::kGrace, Stage::kCancel, Stage::kStopped};
constexpr int kThreads = 4;

// What became of the waiters, by kind and outcome.
class Outcomes {
 public:
  void Count(const std::string& outcome) {
    std::lock_guard lock(mutex_);
    ++seen_[outcome];
  }
  std::vector<std::string> Missing(const std::vector<std::string>& wanted) const {
    std::vector<std::string> missing;
    for (const std::string& outcome : wanted) {
      if (!seen_.contains(outcome)) missing.push_back(outcome);
    }
    return missing;
  }

 private:
  std::mutex mutex_;
  std::map<std::string, int> seen_;
};

const std::vector<std::string> kWanted{
    "wait: reached",        "wait: timed out",      "fd: reached",          "fd: timed out",
    "token: stopped",       "token: taken back",    "callback: late",       "callback: told",
    "callback: taken back", "executor: told",       "executor: taken back", "moved: told",
    "moved: taken back",    "inside: resubscribed",
};

// One waiter's thread: waits in every way, gives up after moments, and begins again.
class Waiter {
 public:
  Waiter(const Termination& view, const int& plain, unsigned seed, Outcomes& outcomes)
      : view_(view), plain_(plain), random_(seed), outcomes_(outcomes) {}

  void Run() {
    do {
      const Stage stage = kStages[random_() % kStages.size()];
      switch (random_() % 6) {
        case 0: Wait(stage); break;
        case 1: Poll(stage); break;
        case 2: Token(stage); break;
        case 3: Inline(stage); break;
        case 4: Elsewhere(stage); break;
        case 5: Moved(stage); break;
      }
    } while (!view_.Reached(Stage::kStopped));
    // Everything once more when all is over.
    Wait(Stage::kStopped);
    Inline(Stage::kStopped);
  }

 private:
  Duration Moment() { return std::chrono::microseconds(random_() % 60); }
  void Saw(bool happened, const char* yes, const char* no) {
    // ThreadSanitizer knows when the order is not kept.
    EXPECT_TRUE(!happened || plain_ == 1);
    outcomes_.Count(happened ? yes : no);
  }
  // Until the stage is reached, or for a moment.
  void Linger(Stage stage) { static_cast<void>(view_.WaitFor(stage, Moment())); }

  void Wait(Stage stage) {
    Saw(view_.WaitFor(stage, Moment()), "wait: reached", "wait: timed out");
  }
  void Poll(Stage stage) {
    pollfd one{view_.fd(stage), POLLIN, 0};
    const timespec moment{0, Moment().count()};
    const bool readable = ppoll(&one, 1, &moment, nullptr) == 1;
    EXPECT_TRUE(!readable || view_.Reached(stage));  // which ThreadSanitizer sees, unlike poll
    Saw(readable, "fd: reached", "fd: timed out");
  }
  void Token(Stage stage) {
    const auto told = std::make_shared<std::atomic<bool>>(false);
    {
      const std::stop_callback callback(view_.stop_token(stage), [told] { *told = true; });
      Linger(stage);
    }
    Saw(*told, "token: stopped", "token: taken back");
  }
  void Inline(Stage stage) {
    auto told = std::make_unique<bool>(false);  // not atomic: a callback after Reset is a race
    std::thread::id where;
    auto subscription = view_.OnReached(stage, [&] {
      *told = true;
      where = std::this_thread::get_id();
      Inside();
    });
    Linger(stage);
    subscription.Reset();
    const bool late = where == std::this_thread::get_id();
    Saw(*told, late ? "callback: late" : "callback: told", "callback: taken back");
  }
  // Subscribes, unsubscribes and looks about in the middle of a change.
  void Inside() {
    static_cast<void>(view_.OnMoved(Stage::kStopped, [] {}));
    static_cast<void>(view_.OnReached(Stage::kStopped, [] {}));
    outcomes_.Count("inside: resubscribed");
  }
  void Elsewhere(Stage stage) {
    std::mutex mutex;
    std::vector<Callback> posted;
    bool told = false;
    {
      const auto subscription = view_.OnReached(
          stage,
          [&](Callback function) {
            std::lock_guard lock(mutex);
            posted.push_back(std::move(function));
          },
          [&] { told = true; });
      Linger(stage);
      if (random_() % 2 == 0) RunPosted(mutex, posted);
    }
    RunPosted(mutex, posted);  // after its end: nothing
    Saw(told, "executor: told", "executor: taken back");
  }
  static void RunPosted(std::mutex& mutex, std::vector<Callback>& posted) {
    std::vector<Callback> now;
    {
      std::lock_guard lock(mutex);
      now.swap(posted);
    }
    for (const Callback& function : now) function();
  }
  void Moved(Stage stage) {
    auto told = std::make_unique<bool>(false);
    {
      const auto subscription = view_.OnMoved(stage, [&] { *told = true; });
      Linger(stage);
    }
    outcomes_.Count(*told ? "moved: told" : "moved: taken back");
  }

  const Termination view_;
  const int& plain_;
  std::minstd_rand random_;
  Outcomes& outcomes_;
};

// One life: four threads wait in every way while all stages are reached.
void Live(unsigned seed, Outcomes& outcomes) {
  auto source = std::make_unique<TerminationSource>();
  int plain = 0;  // what the host writes before the first stage
  std::barrier start(kThreads + 1);
  std::vector<std::jthread> threads;
  for (unsigned i = 0; i < kThreads; ++i) {
    threads.emplace_back([&, i, view = source->view()] {
      start.arrive_and_wait();
      Waiter(view, plain, seed + i, outcomes).Run();
    });
  }
  start.arrive_and_wait();
  plain = 1;
  const Termination view = source->view();
  for (const Stage stage : kStages) {
    // Waiting for what this thread does itself: only the time passes.
    static_cast<void>(view.WaitFor(stage, std::chrono::microseconds(seed % 200)));
    const Instant now = Now();
    source->SetPlan({now + 1ms, now + 2ms, now + 3ms});
    source->Reach(stage, now);
  }
  source.reset();  // the views go on
}

TEST(TerminationStressTest, WaitersComeAndGoWhileStagesAreReached) {
  Outcomes outcomes;
  unsigned round = 0;
  std::vector<std::string> missing = kWanted;
  while ((!missing.empty() || round < 300) && round < 20'000) {
    Live(round++, outcomes);
    missing = outcomes.Missing(kWanted);
  }
  EXPECT_EQ(missing, std::vector<std::string>());
}

}  // namespace
}  // namespace lastcall
