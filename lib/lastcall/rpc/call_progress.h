// CallProgress: the messages of one call, as gRPC tells of them.
#pragma once

#include <atomic>
#include <cstdint>

#include <lastcall/base/clock.h>
#include <lastcall/rpc/call_info.h>

namespace lastcall {

// Threads: any; each direction by one at a time, as gRPC has it. Cost: no lock, for it is called for
// each message of each call.
class CallProgress {
 public:
  explicit CallProgress(Instant began) : at_(began) {}

  // The handler wants the client's next message; it is there, or there will be none.
  void Reads() { reads_.store(true, std::memory_order_relaxed); }
  void Received(bool message, Instant now) {
    reads_.store(false, std::memory_order_relaxed);
    if (message) Count(received_, now);
  }
  // The handler has written a message; the connection has room for it.
  void Writes(Instant now) {
    writes_.store(true, std::memory_order_relaxed);
    at_.store(now, std::memory_order_relaxed);
  }
  void Sent(Instant now) {
    writes_.store(false, std::memory_order_relaxed);
    Count(sent_, now);
  }

  uint64_t received() const { return received_.load(std::memory_order_relaxed); }
  uint64_t sent() const { return sent_.load(std::memory_order_relaxed); }
  // When anything of this last happened.
  Instant at() const { return at_.load(std::memory_order_relaxed); }
  // A reactor may read ahead of what it works on, so a message that is not taken counts first.
  CallWaits waits() const {
    if (writes_.load(std::memory_order_relaxed)) return CallWaits::kClient;
    return reads_.load(std::memory_order_relaxed) ? CallWaits::kInput : CallWaits::kHandler;
  }

 private:
  // No read-modify-write: there is one writer at a time.
  void Count(std::atomic<uint64_t>& messages, Instant now) {
    messages.store(messages.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    at_.store(now, std::memory_order_relaxed);
  }

  std::atomic<uint64_t> received_{0};
  std::atomic<uint64_t> sent_{0};
  std::atomic<bool> reads_{false};
  std::atomic<bool> writes_{false};
  std::atomic<Instant> at_;
};

}  // namespace lastcall
