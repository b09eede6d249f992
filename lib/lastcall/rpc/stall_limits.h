// When a call that makes no progress is reported.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include <lastcall/base/clock.h>

namespace lastcall {

struct StallLimits {
  struct Method {
    Duration after = kForever;  // kForever: it may take as long as it likes
    std::string file;           // where that was written
    uint32_t line = 0;

    friend bool operator==(const Method&, const Method&) = default;
  };

  Duration after = std::chrono::seconds(10);
  // Of single methods: "/shop.Prices/Watch". They are watched for their clients too, and for what only
  // they know of themselves.
  std::map<std::string, Method, std::less<>> methods;

  friend bool operator==(const StallLimits&, const StallLimits&) = default;
};

}  // namespace lastcall
