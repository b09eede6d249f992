// FinishedCalls: what is remembered of the calls of one method that are over.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <vector>

#include <lastcall/base/clock.h>
#include <lastcall/rpc/call_info.h>

namespace lastcall {

// The slowest, and the last of those that failed. Threads: any. Cost: one comparison for a call that is
// neither.
class FinishedCalls {
 public:
  static constexpr size_t kMostSlowest = 10;
  static constexpr size_t kMostFailures = 100;
  // Text of a client or a status that is longer is cut.
  static constexpr size_t kMaxClient = 80;
  static constexpr size_t kMaxMessage = 200;
  // What one call takes at the most: itself, two texts, and what the allocator adds to each.
  static constexpr size_t kBytesOfOne = sizeof(FinishedCall) + kMaxClient + kMaxMessage + 64;

  // How many calls it may keep; none until this was said. Order: before the first call.
  void Bound(size_t calls);

  // Whether such a call would be kept, or must be counted. May say yes to one that is not, when others
  // end at the same time.
  bool Wants(Duration duration, bool failed) const {
    return failed || duration.count() > least_.load(std::memory_order_relaxed);
  }
  // It is cut to what is kept of one.
  void Add(FinishedCall call);

  // How long the slowest took; zero: none is remembered.
  Duration slowest() const;
  // But for the name of the method.
  FinishedMethod seen() const;

 private:
  void AddSlow(const FinishedCall& call);

  std::atomic<Duration::rep> least_{kForever.count()};  // of the slowest, once there are enough
  mutable std::mutex mutex_;
  size_t most_slowest_ = 0;
  size_t most_failures_ = 0;
  uint64_t failed_ = 0;
  std::vector<FinishedCall> slowest_;   // slowest first
  std::vector<FinishedCall> failures_;  // a ring, once there are enough
  size_t next_ = 0;                     // where the next goes, then
};

}  // namespace lastcall
