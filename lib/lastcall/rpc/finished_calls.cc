#include "lastcall/rpc/finished_calls.h"

#include <algorithm>
#include <utility>

#include "lastcall/base/safe_text.h"

namespace lastcall {

void FinishedCalls::Bound(size_t calls) {
  std::lock_guard lock(mutex_);
  most_slowest_ = std::min(kMostSlowest, (calls + 1) / 2);
  most_failures_ = std::min(kMostFailures, calls - most_slowest_);
  least_.store(most_slowest_ == 0 ? kForever.count() : -1, std::memory_order_relaxed);
}

void FinishedCalls::Add(FinishedCall call) {
  call.client = SafeText(std::move(call.client), kMaxClient);
  call.message = SafeText(std::move(call.message), kMaxMessage);
  std::lock_guard lock(mutex_);
  AddSlow(call);
  if (call.status == 0) return;
  ++failed_;
  if (failures_.size() < most_failures_) return failures_.push_back(std::move(call));
  if (most_failures_ == 0) return;
  failures_[next_] = std::move(call);
  next_ = (next_ + 1) % most_failures_;
}

void FinishedCalls::AddSlow(const FinishedCall& call) {
  const auto place = std::upper_bound(
      slowest_.begin(), slowest_.end(), call,
      [](const auto& one, const auto& other) { return one.duration > other.duration; });
  if (static_cast<size_t>(place - slowest_.begin()) == most_slowest_) return;
  slowest_.insert(place, call);
  if (slowest_.size() > most_slowest_) slowest_.pop_back();
  if (slowest_.size() == most_slowest_) {
    least_.store(slowest_.back().duration.count(), std::memory_order_relaxed);
  }
}

Duration FinishedCalls::slowest() const {
  std::lock_guard lock(mutex_);
  return slowest_.empty() ? Duration::zero() : slowest_.front().duration;
}

FinishedMethod FinishedCalls::seen() const {
  std::lock_guard lock(mutex_);
  FinishedMethod seen{{}, failed_, slowest_, failures_};
  std::rotate(seen.failures.begin(), seen.failures.begin() + static_cast<ptrdiff_t>(next_),
              seen.failures.end());
  std::reverse(seen.failures.begin(), seen.failures.end());
  return seen;
}

}  // namespace lastcall
