// Latch: an event that happens once. Set by its owner, waited for by anybody.
//
//   Latch reached;
//   std::thread waiter([&] { reached.Wait(); });
//   reached.Set();
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>

#include <lastcall/base/clock.h>
#include <lastcall/base/unique_fd.h>

namespace lastcall {

// Threads: any, for every method. Any number may wait; waiting costs no CPU and no thread.
// Everything written before Set is visible after a wait that returned true, after IsSet returned
// true and after fd() was seen readable. A latch may be destroyed once no call on it is running;
// a waiter that returned has no call running, so the last waiter may destroy it if Set returned.
class Latch {
 public:
  Latch() = default;
  Latch(const Latch&) = delete;
  Latch& operator=(const Latch&) = delete;

  // The first call wakes every waiter; later ones do nothing. False: it was set already.
  bool Set();
  bool IsSet() const { return state_.load(std::memory_order_acquire) == kSet; }

  // Blocks: until set.
  void Wait() const { WaitUntil(kNever); }
  // Blocks: until set (true) or `instant` (false).
  bool WaitUntil(Instant instant) const;

  // A descriptor that becomes readable when the latch is set, and stays so forever: reading from it
  // takes nothing away. For poll, epoll and every event loop; any number may watch it.
  // Owns: the latch does. -1: no descriptor could be made (EMFILE); ask again later.
  int fd() const;

 private:
  static constexpr uint32_t kSet = 1;

  void End() const;

  mutable std::atomic<uint32_t> state_{0};  // the futex word
  mutable std::mutex fd_mutex_;
  mutable UniqueFd read_end_;  // readable (end of file) once write_end_ is shut
  mutable UniqueFd write_end_;
};

}  // namespace lastcall
