#include "lastcall/rpc/method_table.h"

#include <mutex>

#include "lastcall/base/safe_text.h"
#include "lastcall/base/spelling.h"

namespace lastcall {
namespace {

// Where clients invent names (a generic service, and whatever a callback server does not know), all
// those beyond the first are counted together.
constexpr char kOtherMethods[] = "(others)";

}  // namespace

void MethodTable::Add(std::string_view name) {
  std::unique_lock lock(mutex_);
  Insert(std::string(name), nullptr);
}

void MethodTable::BoundFinished(size_t calls) {
  std::unique_lock lock(mutex_);
  const size_t share = calls / (methods_.size() + 1);
  for (const auto& [name, method] : methods_) method->finished.Bound(share);
  finished_of_others_.Bound(share);
}

Result<> MethodTable::SetStalls(const StallLimits& limits) {
  std::unique_lock lock(mutex_);
  stall_after_ = limits.after;
  std::vector<std::string> known;
  for (const auto& [name, method] : methods_) {
    known.push_back(name);
    method->stall = {limits.after, false};
  }
  for (const auto& [name, method] : limits.methods) {
    CountedMethod* const own = Known(name);
    if (own == nullptr) {
      return Fail(
          Code::kNotFound,
          (method.file.empty() ? "" : method.file + ":" + std::to_string(method.line) + ": ") +
              "the server has no method " + SafeText(name, kMaxSafeName) + "; " +
              SpellingHint(name, known));
    }
    own->stall = {method.after, true};
  }
  return {};
}

CountedMethod& MethodTable::Of(const char* name) {
  {
    std::shared_lock lock(mutex_);
    if (CountedMethod* const known = Known(name)) return *known;
  }
  const std::string invented = SafeText(name, kMaxSafeName);
  std::unique_lock lock(mutex_);
  if (CountedMethod* const known = Known(invented)) return *known;
  if (invented_ == kMaxInvented) return Insert(kOtherMethods, &finished_of_others_);
  ++invented_;
  return Insert(invented, &finished_of_others_);
}

CountedMethod* MethodTable::Known(std::string_view name) const {
  const auto found = methods_.find(name);
  return found == methods_.end() ? nullptr : found->second.get();
}

CountedMethod& MethodTable::Insert(const std::string& name, FinishedCalls* others) {
  auto& method = methods_[name];
  if (method == nullptr) {
    method = std::make_unique<CountedMethod>(name, others);
    method->stall.after = stall_after_;
  }
  return *method;
}

std::vector<MethodCount> MethodTable::counts() const {
  std::shared_lock lock(mutex_);
  std::vector<MethodCount> counts;
  for (const auto& [name, method] : methods_) {
    if (method->calls.entered() == 0) continue;
    counts.push_back({name, method->calls.in_flight(), method->calls.entered()});
  }
  return counts;
}

std::vector<FinishedMethod> MethodTable::finished() const {
  std::shared_lock lock(mutex_);
  std::vector<FinishedMethod> finished;
  const auto add = [&](const std::string& name, const FinishedCalls& calls) {
    FinishedMethod seen = calls.seen();
    if (seen.failed == 0 && seen.slowest.empty()) return;
    seen.method = name;
    finished.push_back(std::move(seen));
  };
  for (const auto& [name, method] : methods_) {
    if (&method->finished != &finished_of_others_) add(name, method->finished);
  }
  add(kOtherMethods, finished_of_others_);
  return finished;
}

}  // namespace lastcall
