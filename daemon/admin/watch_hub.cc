#include "daemon/admin/watch_hub.h"

#include <algorithm>
#include <utility>

namespace lastcall {

void WatchHub::Publish(admin::v1::Status status) {
  std::lock_guard lock(mutex_);
  if (receipt_) return;  // it was in progress when the last word was said
  if (!statuses_.empty() && statuses_.back().status.stage() == status.stage()) statuses_.pop_back();
  statuses_.push_back({++version_, std::move(status)});
  changed_.notify_all();
}

void WatchHub::Close(admin::v1::ReceiptEvent receipt) {
  std::lock_guard lock(mutex_);
  receipt_ = std::move(receipt);
  changed_.notify_all();
}

void WatchHub::HandOver() {
  std::lock_guard lock(mutex_);
  handing_over_ = true;
  changed_.notify_all();
}

void WatchHub::Reopen() {
  std::lock_guard lock(mutex_);
  handing_over_ = false;
}

bool WatchHub::HasWatchers() const {
  std::lock_guard lock(mutex_);
  return watchers_ > 0;
}

WatchHub::Watcher::Watcher(WatchHub& hub) : hub_(hub) {
  std::lock_guard lock(hub_.mutex_);
  ++hub_.watchers_;
  seen_ = hub_.version_;
}

WatchHub::Watcher::~Watcher() {
  std::lock_guard lock(hub_.mutex_);
  --hub_.watchers_;
}

std::optional<admin::v1::WatchResponse> WatchHub::Watcher::Next(std::stop_token stop) {
  std::unique_lock lock(hub_.mutex_);
  hub_.changed_.wait(lock, std::move(stop), [this] {
    return hub_.version_ > seen_ || hub_.receipt_ || hub_.handing_over_;
  });
  admin::v1::WatchResponse event;
  const auto next = std::find_if(hub_.statuses_.begin(), hub_.statuses_.end(),
                                 [this](const Version& each) { return each.number > seen_; });
  if (next != hub_.statuses_.end()) {
    seen_ = next->number;
    *event.mutable_status() = next->status;
    return event;
  }
  if (hub_.receipt_ && !std::exchange(told_receipt_, true)) {
    *event.mutable_receipt() = *hub_.receipt_;
    return event;
  }
  if (hub_.handing_over_ && !std::exchange(told_handover_, true)) {
    event.mutable_handover();
    return event;
  }
  return std::nullopt;
}

}  // namespace lastcall
