// How a signal is called.
#pragma once

#include <string>

namespace lastcall {

// "SIGTERM"; "signal 34" where it has no name.
std::string SignalName(int signal);

}  // namespace lastcall
