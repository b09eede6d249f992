// A thread of a test's own, and rendezvous with what it does.
#pragma once

#include <unistd.h>

#include <atomic>
#include <functional>
#include <string_view>
#include <thread>

#include <lastcall/threads/doing.h>
#include <lastcall/threads/thread_sample.h>

namespace lastcall {

class OwnThread {
 public:
  explicit OwnThread(std::function<void()> work)
      : thread_([this, work = std::move(work)] {
          id_ = gettid();
          work();
        }) {
    while (id_ == 0) std::this_thread::yield();
  }
  ~OwnThread() { Join(); }

  pid_t id() const { return id_; }
  void Join() {
    if (thread_.joinable()) thread_.join();
  }

  // Spins until it sleeps in the system call of that name.
  void AwaitIn(std::string_view call) const {
    while (CallName(Look(id_).place) != call) std::this_thread::yield();
  }

 private:
  std::atomic<pid_t> id_{0};
  std::thread thread_;
};

}  // namespace lastcall
