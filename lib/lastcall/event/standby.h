// A thread that is made before it is needed. What a stop does in a thread of its own must not meet a
// machine that has no thread left just then.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <stop_token>
#include <thread>
#include <utility>

namespace lastcall {

class Standby {
 public:
  using Work = std::function<void(const std::stop_token& end)>;

  // Fails: throws std::system_error where no thread can be made.
  Standby() : thread_([this](const std::stop_token& end) { Run(end); }) {}
  // Work that was begun is asked to end. Blocks: until it has.
  ~Standby() = default;

  // The thread does `work`; whatever comes after the first is ignored. Threads: any.
  void Begin(Work work) {
    std::lock_guard lock(mutex_);
    if (std::exchange(begun_, true)) return;
    work_ = std::move(work);
    changed_.notify_one();
  }
  bool begun() const {
    std::lock_guard lock(mutex_);
    return begun_;
  }
  // Blocks: until the work has returned, where some was begun.
  void Join() {
    if (begun() && thread_.joinable()) thread_.join();
  }

 private:
  void Run(const std::stop_token& end) {
    std::unique_lock lock(mutex_);
    // What was begun is done, also where the owner goes right after.
    if (!changed_.wait(lock, end, [this] { return begun_; })) return;
    const Work work = std::move(work_);
    lock.unlock();
    work(end);
  }

  mutable std::mutex mutex_;
  std::condition_variable_any changed_;
  bool begun_ = false;
  Work work_;
  std::jthread thread_;  // last: it uses the others
};

}  // namespace lastcall
