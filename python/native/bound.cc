#include "bound.h"

#include <unistd.h>

#include <algorithm>
#include <thread>

#include "lastcall/base/log.h"

namespace lastcall::python {

std::shared_ptr<Bound> Bound::Make(pybind11::function stacks) {
  std::shared_ptr<Bound> bound(new Bound(std::move(stacks)));
  std::thread([bound] { bound->Watch(); }).detach();
  return bound;
}

void Bound::Watch() {
  finished_.Wait();
  if (!lifted_.IsSet() && !lifted_.WaitUntil(end_)) Force();
}

void Bound::Lift() {
  lifted_.Set();
  finished_.Set();
}

void Bound::Requested(const Request& request, const Plan& plan) {
  if (request.cause.kind == Cause::Kind::kSignal) asked_by_signal_ = true;
  if (stopped_ == kNever) {
    end_ = std::min(end_, plan.end);
  } else if (request.skip && !lifted_.IsSet()) {
    Force();
  }
}

std::vector<std::string> Bound::StackOf(const Work::Info& info) {
  const auto& stacks = stacks_.Take();
  const auto found = stacks.find(info.thread);
  return found == stacks.end() ? std::vector<std::string>{} : found->second.lines;
}

void Bound::Finished(const Receipt& receipt) {
  stopped_ = std::chrono::steady_clock::now();
  receipt_ = receipt;
  if (receipt.exit_code != Receipt::kForced) finished_.Set();
}

void Bound::Force() {
  forcing_.lock();  // never unlocked: the process ends here
  const Instant now = std::chrono::steady_clock::now();
  receipt_.exit_code = Receipt::kForced;
  receipt_.took += now - stopped_;
  for (const auto& [thread, stack] : stacks_.Take()) {
    if (stack.name.empty()) continue;
    receipt_.stuck.push_back({Stuck::What::kPart, stack.name, now - stopped_, stack.lines});
  }
  if (receipt_.stuck.empty()) receipt_.stuck.push_back({Stuck::What::kPart, "the process"});
  LogToStderr(LogLevel::kWarning, receipt_.Outcome());
  LogToStderr(LogLevel::kWarning, receipt_.ToJson());
  _exit(Receipt::kForced);
}

}  // namespace lastcall::python
