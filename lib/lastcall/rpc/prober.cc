#include "lastcall/rpc/prober.h"

#include <grpcpp/completion_queue.h>

#include <algorithm>
#include <cmath>

namespace lastcall {
namespace {

// Turns that are due so soon are taken at once: of many servers, one wake-up does for several.
constexpr Duration kTogether = std::chrono::milliseconds(10);

// So soon a probe is answered where there is a thread for it.
constexpr Duration kSoon = std::chrono::milliseconds(50);

// For so long nobody who adds or removes a canary is heard.
const gpr_timespec kPolls = gpr_time_from_millis(50, GPR_TIMESPAN);

}  // namespace

Prober::Prober(const Clock& clock) : clock_(clock) {}
Prober::~Prober() = default;

Duration Prober::PhaseOf(size_t number) {
  // Multiples of the golden ratio: however many there are, no two are close.
  constexpr double kGolden = 0.6180339887498949;
  const double part = std::fmod(static_cast<double>(number) * kGolden, 1.0);
  return std::chrono::duration_cast<Duration>(PeriodOf(number + 1) * part);
}

Duration Prober::PeriodOf(size_t canaries) {
  const auto most = static_cast<Duration::rep>(kMost);
  return Canary::kPeriod * std::max(most, static_cast<Duration::rep>(canaries)) / most;
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
  std::erase_if(answers_, [&](const auto& answer) { return answer.second == &canary; });
  slow_.erase(&canary);
}

void Prober::Run(const std::stop_token& end) {
  std::unique_lock lock(mutex_);
  while (!end.stop_requested()) {
    if (turns_.empty()) {
      changed_.wait(lock, end, [this] { return !turns_.empty(); });
      continue;
    }
    JudgeAnswers();
    const auto [due, canary] = *turns_.begin();
    if (due > clock_.Now() + kTogether) {
      Wait(lock, end, answers_.empty() ? due : std::min(due, answers_.begin()->first));
      continue;
    }
    turns_.erase(turns_.begin());
    TakeTurn(due, *canary);
  }
}

void Prober::TakeTurn(Instant due, Canary& canary) {
  turns_.emplace(canary.TakeTurn(due, PeriodOf(turns_.size() + 1)), &canary);
  if (canary.waits_for_callbacks()) {
    answers_.emplace(clock_.Now() + kSoon, &canary);
  } else {
    slow_.erase(&canary);
  }
}

void Prober::JudgeAnswers() {
  for (const Instant now = clock_.Now(); !answers_.empty() && answers_.begin()->first <= now;) {
    Canary* const canary = answers_.begin()->second;
    answers_.erase(answers_.begin());
    if (canary->waits_for_callbacks()) {
      slow_.insert(canary);
    } else {
      slow_.erase(canary);
    }
  }
}

void Prober::Wait(std::unique_lock<std::mutex>& lock, const std::stop_token& end, Instant due) {
  if (slow_.empty()) {
    changed_.wait_until(lock, end, due,
                        [&] { return turns_.empty() || turns_.begin()->first < due; });
    return;
  }
  if (polled_ == nullptr) polled_ = std::make_unique<grpc::CompletionQueue>();
  lock.unlock();
  void* tag = nullptr;
  bool ok = false;
  polled_->AsyncNext(&tag, &ok, gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), kPolls));
  lock.lock();
}

}  // namespace lastcall
