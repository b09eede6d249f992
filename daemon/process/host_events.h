// What a host says, as events of the supervisor.
#pragma once

#include <lastcall/supervisor/supervisor.h>

#include "lastcall/worker/v1/worker.pb.h"

namespace lastcall {

// A host runs the code of strangers: whatever it says is about its own incarnation, and nothing of it
// is believed further than that.
void TellSupervisor(const worker::v1::FromHost& message, size_t member, uint32_t incarnation,
                    Instant now, Supervisor& supervisor);

}  // namespace lastcall
