// Gate: counts work in flight and tells when there is none.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <utility>

namespace lastcall {

// Threads: any, for Enter, Leave and in_flight. Cost: one atomic addition each.
class Gate {
 public:
  // `on_empty` runs each time the count falls to zero, in the thread of that Leave; it must not
  // block. It may be late: work may have entered again when it runs, so read in_flight().
  explicit Gate(std::function<void()> on_empty = nullptr) : on_empty_(std::move(on_empty)) {}
  Gate(const Gate&) = delete;
  Gate& operator=(const Gate&) = delete;

  // How many have entered, with this one.
  uint64_t Enter() { return entered_.fetch_add(1, std::memory_order_seq_cst) + 1; }
  void Leave() {
    // Sequentially consistent with Watch and the read after it: one of the two sees the zero. Of several who
    // leave, the last one does.
    const uint64_t left = left_.fetch_add(1, std::memory_order_seq_cst) + 1;
    if (watched_.load(std::memory_order_seq_cst) &&
        entered_.load(std::memory_order_seq_cst) == left)
      on_empty_();
  }

  // In this order: there was a moment at which it was so, or less; and none where it is zero.
  int64_t in_flight() const {
    const uint64_t left = left_.load(std::memory_order_seq_cst);
    return static_cast<int64_t>(entered_.load(std::memory_order_seq_cst) - left);
  }
  uint64_t entered() const { return entered_.load(std::memory_order_relaxed); }

  // From now on `on_empty` is called; before, a Leave costs nothing more than the count.
  // The caller reads in_flight() afterwards, for it may be zero already.
  void Watch() { watched_.store(on_empty_ != nullptr, std::memory_order_seq_cst); }

 private:
  std::atomic<uint64_t> entered_{0};
  std::atomic<uint64_t> left_{0};
  std::atomic<bool> watched_{false};
  std::function<void()> on_empty_;
};

}  // namespace lastcall
