#include "lastcall/host/stall_reports.h"

#include <algorithm>
#include <utility>

namespace lastcall {
namespace {

constexpr Duration kMinute = std::chrono::minutes(1);
// Nothing was heard of it for so long: the next is a new one.
constexpr Duration kForgotten = std::chrono::minutes(10);

}  // namespace

bool StallReports::Says(const std::string& signature, Duration age, Instant now) {
  const auto known = known_.find(signature);
  if (known != known_.end() && now - known->second.seen < kForgotten) {
    known->second.seen = now;
    if (age < 2 * known->second.said) return false;
  }
  if (!HasRoom(now)) {
    if (suppressed_.size() < kMostKnown) suppressed_.insert(signature);
    return false;
  }
  said_.push_back(now);
  suppressed_.erase(signature);
  known_[signature] = {age, now};
  if (known_.size() > kMostKnown) Forget();
  return true;
}

bool StallReports::HasRoom(Instant now) {
  while (!said_.empty() && now - said_.front() >= kMinute) said_.pop_front();
  return said_.size() < kMostAMinute;
}

void StallReports::Forget() {
  known_.erase(std::min_element(known_.begin(), known_.end(), [](const auto& a, const auto& b) {
    return a.second.seen < b.second.seen;
  }));
}

size_t StallReports::TakeSuppressed() { return std::exchange(suppressed_, {}).size(); }

}  // namespace lastcall
