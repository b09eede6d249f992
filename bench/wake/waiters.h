// Who waits in this bench, and for what: a fresh event for every round, ours or the bare kernel's.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include <lastcall/base/clock.h>

namespace wake {

inline lastcall::Instant Now() { return std::chrono::steady_clock::now(); }

// How a round begins.
enum class From { kRequest, kKill };

// One way to wait: a number of waiters that sleep when it has been made.
class Waiters {
 public:
  virtual ~Waiters() = default;
  // Makes it happen. Any thread; called once.
  virtual void Trigger() = 0;
  // Blocks: until the last waiter is awake. Returns when that was.
  virtual lastcall::Instant WaitForLast() = 0;
};

// What is compared: the same number of waiters, by us and by the kernel alone.
struct Scenario {
  std::string waiters;
  int count;
  From from;
  std::function<std::unique_ptr<Waiters>()> ours;
  std::function<std::unique_ptr<Waiters>()> bare;
};

// Threads that wait one by one; kept from round to round.
class Pool;
std::shared_ptr<Pool> MakePool(int threads);
Scenario Threads(std::shared_ptr<Pool> pool, int count, From from);
// One descriptor, registered `count` times in one epoll.
Scenario Epoll(int count, From from);
// Callbacks in the thread that makes it happen.
Scenario Callbacks(int count, From from);
// Coroutines in one Asio loop.
Scenario Coroutines(int count, From from);

}  // namespace wake
