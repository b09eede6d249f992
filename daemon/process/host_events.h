// What a host says, as events of its incarnation.
#pragma once

#include <vector>

#include <lastcall/supervisor/process.h>

#include "lastcall/host/v1/host.pb.h"

namespace lastcall {

// A host runs the code of strangers: whatever it says is about its own incarnation, and nothing of it
// is believed further than that.
void Tell(const host::v1::FromHost& message, Instant now, ProcessEvents& events);

std::vector<ServerView> ServersIn(const host::v1::Report& report);

}  // namespace lastcall
