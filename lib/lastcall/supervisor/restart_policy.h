// What becomes of a process that ended without being asked to.
#pragma once

#include <string_view>

namespace lastcall {

enum class RestartPolicy {
  kAlways,
  kOnFailure,  // not after exit code 0
  kStayDown,   // "never" in the configuration
};

}  // namespace lastcall
