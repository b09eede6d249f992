// A thread that is in the middle of something and gets no further until it is let: like one that the
// scheduler keeps waiting, it neither sleeps nor runs. It waits for a child as vfork(2) does.
#pragma once

#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <fstream>
#include <iterator>
#include <string>
#include <thread>

#include <lastcall/event/latch.h>

namespace lastcall {

class SuspendedThread {
 public:
  SuspendedThread() {
    if (pipe(gate_) != 0) std::abort();
    thread_ = std::thread([this] { Run(); });
    begun_.Wait();
    while (State() != "D") std::this_thread::yield();
  }
  ~SuspendedThread() {
    Resume();
    thread_.join();
    close(gate_[0]);
    close(gate_[1]);
  }

  void Resume() {
    if (write(gate_[1], "", 1) != 1) std::abort();
  }

 private:
  void Run() {
    alignas(16) static char stack[1 << 16];
    const auto child = [](void* gate) {
      char ignored;
      return static_cast<int>(read(*static_cast<int*>(gate), &ignored, 1));
    };
    number_ = gettid();
    begun_.Set();
    const pid_t pid = clone(child, std::end(stack), CLONE_VFORK | SIGCHLD, &gate_[0]);
    waitpid(pid, nullptr, 0);
  }

  std::string State() const {
    std::ifstream status("/proc/self/task/" + std::to_string(number_) + "/status");
    std::string word;
    while (status >> word && word != "State:") {
    }
    status >> word;
    return word;
  }

  int gate_[2];
  pid_t number_ = 0;
  Latch begun_;
  std::thread thread_;
};

}  // namespace lastcall
