// The verb that ends calls.
#pragma once

#include "session.h"

namespace lastcall {

// The exit code.
int RunCancel(Session& session);

}  // namespace lastcall
