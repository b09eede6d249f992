// The bound of the process, also when the lifecycle has stopped and the main thread or another does
// not return: the promise is about the process.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include <lastcall/event/latch.h>
#include <lastcall/program/program.h>

#include "stacks.h"

namespace lastcall::python {

// From the moment when everything has stopped, the process must end by itself by the instant that
// the plan had for it, or it is ended by _exit(4); a SIGTERM that skips a stage ends it at once.
// Order: outlives the program that it observes.
class Bound final : public ProgramObserver {
 public:
  // Throws std::system_error: no thread can be made; it is made now, for at the end there may be
  // none left. `dump`: what a handler of SIGUSR1 writes is to be read there, without waiting; -1:
  // nothing. It stays open for as long as the program reads signals.
  static std::shared_ptr<Bound> Make(pybind11::function stacks, int dump);

  // The process has more to do. Threads: any.
  void Lift();
  // Whether a signal was among those who asked. Threads: any.
  bool asked_by_signal() const { return asked_by_signal_.load(); }
  // Of a program that has gone.
  const Receipt& receipt() const { return receipt_; }

  void Requested(const Request& request, const Plan& plan) override;
  std::vector<std::string> StackOf(const Work::Info& info) override;
  std::vector<std::string> Dump() override;
  void Finished(const Receipt& receipt) override;

 private:
  Bound(pybind11::function stacks, int dump) : stacks_(std::move(stacks)), dump_(dump) {}

  void Watch();
  [[noreturn]] void Force();

  Stacks stacks_;
  const int dump_;
  Latch finished_;
  Latch lifted_;
  std::atomic<bool> asked_by_signal_{false};
  std::mutex forcing_;
  // The lifecycle's thread writes these; Watch reads them once finished_ is set.
  Instant end_ = kNever;
  Instant stopped_ = kNever;
  Receipt receipt_;
};

}  // namespace lastcall::python
