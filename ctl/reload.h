// The verbs that replace processes: reload, restart.
#pragma once

#include "session.h"

namespace lastcall {

// The exit code.
int RunReload(Session& session);
int RunRestart(Session& session);

}  // namespace lastcall
