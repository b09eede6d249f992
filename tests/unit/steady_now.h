// The clock of the tests that measure real threads.
#pragma once

#include <lastcall/base/clock.h>

namespace lastcall {

inline Instant Now() { return std::chrono::steady_clock::now(); }

}  // namespace lastcall
