// What a host says of the calls of its servers.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>

#include <lastcall/base/clock.h>

namespace lastcall {

struct MethodCount {
  std::string method;  // "/package.Service/Method", made safe
  int64_t in_flight = 0;
  uint64_t total = 0;
};

// What is known of one call in flight, for reports.
struct CallInfo {
  std::string method;
  std::string peer;
  Instant began{};
  bool told = false;
  pid_t thread = 0;  // of a sync handler; 0: it has none of its own
};

}  // namespace lastcall
