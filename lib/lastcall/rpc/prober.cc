#include "lastcall/rpc/prober.h"

#include <cmath>

namespace lastcall {
namespace {

// Turns that are due so soon are taken at once: of many servers, one wake-up does for several.
constexpr Duration kTogether = std::chrono::milliseconds(10);

}  // namespace

Duration Prober::PhaseOf(size_t number) {
  // Multiples of the golden ratio: however many there are, no two are close.
  constexpr double kGolden = 0.6180339887498949;
  const double part = std::fmod(static_cast<double>(number) * kGolden, 1.0);
  return std::chrono::duration_cast<Duration>(Canary::kPeriod * part);
}

void Prober::Add(Canary& canary) {
  std::lock_guard lock(mutex_);
  if (!thread_.joinable()) {
    thread_ = std::jthread([this](const std::stop_token& end) { Run(end); });
  }
  turns_.emplace(clock_.Now() + PhaseOf(added_++), &canary);
  changed_.notify_one();
}

void Prober::Remove(Canary& canary) {
  std::lock_guard lock(mutex_);
  std::erase_if(turns_, [&](const auto& turn) { return turn.second == &canary; });
}

void Prober::Run(const std::stop_token& end) {
  std::unique_lock lock(mutex_);
  while (!end.stop_requested()) {
    if (turns_.empty()) {
      changed_.wait(lock, end, [this] { return !turns_.empty(); });
      continue;
    }
    const auto [due, canary] = *turns_.begin();
    if (due > clock_.Now() + kTogether) {
      changed_.wait_until(lock, end, due, [this, next = due] {
        return turns_.empty() || turns_.begin()->first < next;
      });
      continue;
    }
    turns_.erase(turns_.begin());
    turns_.emplace(canary->TakeTurn(due), canary);
  }
}

}  // namespace lastcall
