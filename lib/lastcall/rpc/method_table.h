// MethodTable: the methods of one server by name, each with its count of calls, and with what is
// remembered of those that are over.
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <shared_mutex>
#include <string>
#include <string_view>
#include <vector>

#include <lastcall/base/result.h>
#include <lastcall/event/gate.h>
#include <lastcall/rpc/call_info.h>
#include <lastcall/rpc/finished_calls.h>
#include <lastcall/rpc/stall_limits.h>

namespace lastcall {

// Lives as long as its table.
class CountedMethod {
 public:
  // `others`: where its finished calls are remembered; null: with itself.
  CountedMethod(std::string method, FinishedCalls* others)
      : name(std::move(method)), finished(others != nullptr ? *others : own_) {}

  // When its calls are reported.
  struct Stall {
    Duration after = kForever;
    bool own = false;  // not its server's
  };

  const std::string name;  // made safe
  Gate calls;
  Stall stall;

 private:
  FinishedCalls own_;

 public:
  FinishedCalls& finished;
};

// Threads: any.
class MethodTable {
 public:
  // Its name is kept however many others are invented. Order: before the first call.
  void Add(std::string_view name);

  // How many finished calls are remembered; those of the methods that were added have the same share
  // each, and the rest one together. Order: after the last Add, before the first call.
  void BoundFinished(size_t calls);

  // Fails: kNotFound, the name of one that was not added. Order: as BoundFinished.
  Result<> SetStalls(const StallLimits& limits);

  // Of names that nobody has added, the first kMaxInvented are told apart.
  CountedMethod& Of(const char* name);

  // Those that were called.
  std::vector<MethodCount> counts() const;
  // Those of whose calls something is remembered.
  std::vector<FinishedMethod> finished() const;

 private:
  static constexpr size_t kMaxInvented = 1000;

  CountedMethod* Known(std::string_view name) const;  // null: it is not
  CountedMethod& Insert(const std::string& name, FinishedCalls* others);

  mutable std::shared_mutex mutex_;
  std::map<std::string, std::unique_ptr<CountedMethod>, std::less<>> methods_;  // never shrinks
  size_t invented_ = 0;                                                         // of them
  FinishedCalls finished_of_others_;
  Duration stall_after_ = kForever;
};

}  // namespace lastcall
