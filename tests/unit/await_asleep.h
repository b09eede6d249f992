// A rendezvous with a thread that is about to block in a system call.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <fstream>
#include <string>
#include <thread>

namespace lastcall {

// Spins until thread `id` of this process sleeps in the kernel, or is gone. `id` may be 0 at first.
inline void AwaitAsleep(const std::atomic<pid_t>& id) {
  while (id == 0) std::this_thread::yield();
  for (;; std::this_thread::yield()) {
    std::ifstream stat("/proc/self/task/" + std::to_string(id.load()) + "/stat");
    std::string text;
    if (!std::getline(stat, text) || text[text.rfind(')') + 2] == 'S') return;
  }
}

}  // namespace lastcall
