#include "witness.h"

#include <atomic>
#include <thread>

#include <lastcall/signals/signals.h>

namespace {

bool LookFromAThread() {
  std::atomic<bool> blocked{false};
  std::thread([&] { blocked = lastcall::SignalsAreBlocked(); }).join();
  return blocked;
}

// Some libraries make threads this early.
const bool at_load = lastcall::SignalsAreBlocked() && LookFromAThread();

}  // namespace

bool SignalsWereBlockedAtLoad() { return at_load; }
