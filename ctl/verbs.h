// What lastcallctl does: one function for each verb, from the options to the exit code.
#pragma once

#include "session.h"

namespace lastcall {

int RunVerb(Session& session);

// The verbs that follow the daemon's stream of events; the others ask once.
int RunWatch(Session& session);
int RunShutdown(Session& session);
int RunWaitServing(Session& session);
int RunWaitStopped(Session& session);

}  // namespace lastcall
