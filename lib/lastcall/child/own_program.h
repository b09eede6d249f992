// Which file this program was started from.
#pragma once

#include <string>

namespace lastcall {

// Absolute; also where another file is there now.
std::string OwnProgram();

}  // namespace lastcall
