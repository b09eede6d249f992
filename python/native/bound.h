// The bound of the process, also when the lifecycle has stopped and the main thread or another does
// not return: the promise is about the process.
#pragma once

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
class Bound final : public ProgramObserver, public std::enable_shared_from_this<Bound> {
 public:
  explicit Bound(pybind11::function stacks) : stacks_(std::move(stacks)) {}

  // The process has more to do. Threads: any.
  void Lift() { lifted_.Set(); }

  void Requested(const Request& request, const Plan& plan) override;
  std::vector<std::string> StackOf(const Work::Info& info) override;
  void Finished(const Receipt& receipt) override;

 private:
  [[noreturn]] void Force();

  Stacks stacks_;
  Latch lifted_;
  std::mutex forcing_;
  // The lifecycle's thread writes these, and starts the thread that reads them last.
  Instant end_ = kNever;
  Instant stopped_ = kNever;
  Receipt receipt_;
};

}  // namespace lastcall::python
