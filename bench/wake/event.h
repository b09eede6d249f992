// The two events: a Program's delay stage, and one futex or eventfd.
#pragma once

#include <linux/futex.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <climits>
#include <csignal>
#include <functional>
#include <optional>
#include <thread>

#include <lastcall/base/unique_fd.h>
#include <lastcall/program/program.h>

#include "waiters.h"

namespace wake {

// A futex: 0, then 1.
class Word {
 public:
  void Set() {
    word_.store(1, std::memory_order_release);
    syscall(SYS_futex, &word_, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, INT_MAX, nullptr, nullptr, 0);
  }
  void Wait() {
    while (word_.load(std::memory_order_acquire) == 0) {
      syscall(SYS_futex, &word_, FUTEX_WAIT | FUTEX_PRIVATE_FLAG, 0, nullptr, nullptr, 0);
    }
  }

 private:
  std::atomic<uint32_t> word_{0};
};

// Ours: a program, asked to stop or sent a SIGTERM.
class OurEvent {
 public:
  explicit OurEvent(From from) : from_(from), program_(Options(from)) { program_.Ready(); }

  lastcall::Termination view() const { return program_.termination(); }
  void Trigger() {
    if (from_ == From::kRequest) {
      program_.Shutdown("bench");
    } else {
      kill(getpid(), SIGTERM);
    }
  }

 private:
  static lastcall::ProgramOptions Options(From from) {
    lastcall::ProgramOptions options;
    if (from == From::kRequest) options.signals.reset();
    options.log = [](lastcall::LogLevel, std::string_view) {};
    return options;
  }

  const From from_;
  lastcall::Program program_;
};

// The bare one: `happen` in the thread that asks, or in one that waits for a SIGTERM.
class BareEvent {
 public:
  BareEvent(From from, std::function<void()> happen) : from_(from), happen_(std::move(happen)) {
    if (from == From::kKill) {
      reader_ = std::thread([this] {
        sigset_t set;
        sigemptyset(&set);
        sigaddset(&set, SIGTERM);
        siginfo_t info;
        while (sigwaitinfo(&set, &info) != SIGTERM) continue;
        happen_();
      });
    }
  }
  ~BareEvent() {
    if (reader_.joinable()) reader_.join();
  }
  void Trigger() {
    if (from_ == From::kRequest) {
      happen_();
    } else {
      kill(getpid(), SIGTERM);
    }
  }

 private:
  const From from_;
  const std::function<void()> happen_;
  std::thread reader_;
};

}  // namespace wake
