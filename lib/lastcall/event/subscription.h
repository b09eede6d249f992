// Subscription: a callback that waits for something to happen, and the way to take it back.
//
//   lastcall::Subscription closing = termination.OnReached(Stage::kGrace, [&] { Close(); });
#pragma once

#include <functional>
#include <memory>
#include <utility>

namespace lastcall {

using Callback = std::function<void()>;

// Runs a function once, soon, somewhere else: in a loop, a pool, a strand. It is called in the
// thread in which the thing happens, and must not block. A function that it drops never runs; where
// it throws, as a pool may that is closed, that is a drop: it is said on stderr, and everybody else
// is told. Empty: the callback itself runs in that thread; it must neither block nor throw.
using Executor = std::function<void(Callback)>;

// Neither callback nor executor run after the subscription was reset or destroyed.
// Threads: any, one at a time; also inside the callback, which may go on to use what it captured.
// Blocks: Reset and the end, while one of them runs in another thread; so hold no lock that it
// needs, and of two callbacks in two threads only one may end the other's subscription. Not in a
// forked child, where none of them runs.
// Owns: callback and executor. What they captured goes with the subscription, or later where they
// run just then, wait in an executor, or are among those who are being told.
// Fails: what the callback throws in an executor goes to whoever runs it there; the callback was
// told.
class Subscription {
 public:
  Subscription() = default;  // of nothing
  Subscription(Subscription&&) noexcept = default;
  Subscription& operator=(Subscription&& other) noexcept {
    if (this != &other) {
      // The new one first: the callback may end the old one from inside.
      const auto old = std::exchange(entry_, std::exchange(other.entry_, nullptr));
      End(old);
    }
    return *this;
  }
  ~Subscription() { Reset(); }

  void Reset() { End(std::exchange(entry_, nullptr)); }

 private:
  friend class Notices;
  struct Entry;
  explicit Subscription(std::shared_ptr<Entry> entry) : entry_(std::move(entry)) {}
  static void End(const std::shared_ptr<Entry>& entry);

  std::shared_ptr<Entry> entry_;  // null: of nothing
};

}  // namespace lastcall
