#include "bound.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <thread>

#include "lastcall/base/log_queue.h"

namespace lastcall::python {

std::shared_ptr<Bound> Bound::Make(pybind11::function stacks, int dump) {
  std::shared_ptr<Bound> bound(new Bound(std::move(stacks), dump));
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

// The handler runs in Python's main thread and may have the interpreter lock: what it writes goes
// into a pipe of ours, for one that waits there for whoever reads stderr would stop every thread.
std::vector<std::string> Bound::Dump() {
  std::string text;
  std::array<char, 4096> block;
  for (ssize_t size; dump_ >= 0 && (size = read(dump_, block.data(), block.size())) > 0;) {
    text.append(block.data(), static_cast<size_t>(size));
  }
  std::vector<std::string> lines;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    lines.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return lines;
}

void Bound::Finished(const Receipt& receipt) {
  stopped_ = std::chrono::steady_clock::now();
  receipt_ = receipt;
  if (receipt.exit_code != kExitForced) finished_.Set();
}

void Bound::Force() {
  forcing_.lock();  // never unlocked: the process ends here
  const Instant now = std::chrono::steady_clock::now();
  receipt_.exit_code = kExitForced;
  receipt_.took += now - stopped_;
  for (const auto& [thread, stack] : stacks_.Take()) {
    if (stack.name.empty()) continue;
    receipt_.stuck.push_back({Stuck::What::kPart, stack.name, now - stopped_, stack.lines});
  }
  if (receipt_.stuck.empty()) receipt_.stuck.push_back({Stuck::What::kPart, "the process"});
  const LogQueue log = LogQueue::Stderr();  // the program's own
  log(LogLevel::kWarning, receipt_.Outcome());
  log(LogLevel::kWarning, receipt_.ToJson());
  log.Flush();
  _exit(kExitForced);
}

}  // namespace lastcall::python
