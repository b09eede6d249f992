#include "lastcall/event/end_in_time.h"

#include <unistd.h>

namespace lastcall {

EndInTime::EndInTime() : thread_([this] { Watch(); }) {}

EndInTime::~EndInTime() {
  {
    std::lock_guard lock(mutex_);
    over_ = true;
    changed_.notify_one();
  }
  thread_.join();
}

void EndInTime::Arm(Instant by, int code) {
  std::lock_guard lock(mutex_);
  if (by >= by_) return;
  by_ = by;
  code_ = code;
  changed_.notify_one();
}

void EndInTime::Disarm() {
  std::lock_guard lock(mutex_);
  by_ = kNever;
}

void EndInTime::Watch() {
  std::unique_lock lock(mutex_);
  while (!over_) {
    if (by_ == kNever) {
      changed_.wait(lock);
    } else if (changed_.wait_until(lock, by_) == std::cv_status::timeout &&
               by_ <= std::chrono::steady_clock::now() && !over_) {
      _exit(code_);
    }
  }
}

}  // namespace lastcall
