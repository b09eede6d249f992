#include "lastcall/event/latch.h"

#include <linux/futex.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include <cerrno>
#include <climits>

namespace lastcall {
namespace {

// Absolute CLOCK_MONOTONIC time-out (FUTEX_WAIT_BITSET), so that EINTR needs no arithmetic.
void FutexWait(const std::atomic<uint32_t>& word, uint32_t while_value, Instant until) {
  timespec at{};
  const auto since_boot = until.time_since_epoch().count();
  at.tv_sec = static_cast<time_t>(since_boot / 1'000'000'000);
  at.tv_nsec = static_cast<long>(since_boot % 1'000'000'000);
  syscall(SYS_futex, &word, FUTEX_WAIT_BITSET | FUTEX_PRIVATE_FLAG, while_value,
          until == kNever ? nullptr : &at, nullptr, FUTEX_BITSET_MATCH_ANY);
}

void FutexWakeAll(const std::atomic<uint32_t>& word) {
  syscall(SYS_futex, &word, FUTEX_WAKE_BITSET | FUTEX_PRIVATE_FLAG, INT_MAX, nullptr, nullptr,
          FUTEX_BITSET_MATCH_ANY);
}

}  // namespace

bool Latch::Set() {
  std::lock_guard lock(fd_mutex_);
  if (state_.exchange(kSet, std::memory_order_acq_rel) == kSet) return false;
  if (write_end_) End();
  FutexWakeAll(state_);
  return true;
}

bool Latch::WaitUntil(Instant instant) const {
  while (!IsSet()) {
    if (instant != kNever && std::chrono::steady_clock::now() >= instant) return false;
    FutexWait(state_, 0, instant);
  }
  return true;
}

int Latch::fd() const {
  std::lock_guard lock(fd_mutex_);
  if (read_end_) return read_end_.get();
  int ends[2];
  // A socket pair, not a pipe: at its end poll says POLLIN, which every loop understands. Not an
  // eventfd: whoever read it would clear the event for all.
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) != 0) return -1;
  shutdown(ends[0], SHUT_WR);
  read_end_.Reset(ends[0]);
  write_end_.Reset(ends[1]);
  if (IsSet()) End();
  return read_end_.get();
}

// Not by close(2): a forked child may have a copy of the descriptor.
void Latch::End() const { shutdown(write_end_.get(), SHUT_WR); }

}  // namespace lastcall
