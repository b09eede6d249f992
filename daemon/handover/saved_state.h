// Between what the supervisor knows of its processes and the state that is handed to a new build.
#pragma once

#include "lastcall/state/v1/state.pb.h"

#include <lastcall/net/listener.h>
#include <lastcall/supervisor/supervisor.h>

namespace lastcall {

// All but the process itself.
state::v1::Life ToState(const Life& life);
Life FromState(const state::v1::Life& saved);

// All but the lives.
state::v1::Member ToState(const Supervisor::State& member);
// `member.make` is left empty.
Supervisor::State FromState(const state::v1::Member& saved);

state::v1::Socket ToState(const Listener& listener);
// Takes the descriptor.
Listener FromState(const state::v1::Socket& saved);

}  // namespace lastcall
