// MethodTable: the methods of one server by name, each with its count of calls.
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <shared_mutex>
#include <string>
#include <string_view>
#include <vector>

#include <lastcall/event/gate.h>
#include <lastcall/rpc/call_info.h>

namespace lastcall {

// Lives as long as its table.
struct CountedMethod {
  const std::string name;  // made safe
  Gate calls;
};

// Threads: any.
class MethodTable {
 public:
  // Its name is kept however many others are invented. Order: before the first call.
  void Add(std::string_view name);

  // Of names that nobody has added, the first kMaxInvented are told apart.
  CountedMethod& Of(const char* name);

  // Those that were called.
  std::vector<MethodCount> counts() const;

 private:
  static constexpr size_t kMaxInvented = 1000;

  CountedMethod* Known(std::string_view name) const;  // null: it is not
  CountedMethod& Insert(const std::string& name);

  mutable std::shared_mutex mutex_;
  std::map<std::string, std::unique_ptr<CountedMethod>, std::less<>> methods_;  // never shrinks
  size_t invented_ = 0;                                                         // of them
};

}  // namespace lastcall
