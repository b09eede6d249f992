#include "lastcall/rpc/live_calls.h"

#include <algorithm>
#include <cstdint>
#include <utility>

#include "lastcall/rpc/live_call.h"

namespace lastcall {

LiveCalls::Part& LiveCalls::PartOf(const LiveCall& call) {
  // Fibonacci hashing: addresses of one allocator differ in few bits.
  const auto address = static_cast<uint64_t>(reinterpret_cast<uintptr_t>(&call));
  static_assert(kParts == 16);
  return parts_[(address * 0x9E3779B97F4A7C15u) >> 60];
}

void LiveCalls::Enter(std::shared_ptr<LiveCall> call) {
  Place& place = call->place();
  Part& part = PartOf(*call);
  std::lock_guard lock(part.mutex);
  place.call_ = std::move(call);
  place.before_ = part.ends.before_;
  place.after_ = &part.ends;
  place.before_->after_ = place.after_->before_ = &place;
}

std::shared_ptr<LiveCall> LiveCalls::Leave(LiveCall& call) {
  Place& place = call.place();
  std::lock_guard lock(PartOf(call).mutex);
  place.before_->after_ = place.after_;
  place.after_->before_ = place.before_;
  place.before_ = place.after_ = &place;
  return std::move(place.call_);
}

std::vector<std::shared_ptr<LiveCall>> LiveCalls::Find(
    const std::function<bool(const LiveCall&)>& wanted) const {
  std::vector<std::shared_ptr<LiveCall>> calls;
  for (const Part& part : parts_) {
    std::lock_guard lock(part.mutex);
    for (const Place* place = part.ends.after_; place != &part.ends; place = place->after_) {
      if (wanted(*place->call_)) calls.push_back(place->call_);
    }
  }
  return calls;
}

std::vector<std::shared_ptr<LiveCall>> LiveCalls::Snapshot() const {
  auto calls = Find([](const LiveCall&) { return true; });
  std::sort(calls.begin(), calls.end(),
            [](const auto& a, const auto& b) { return a->began() < b->began(); });
  return calls;
}

}  // namespace lastcall
