// Whether anybody else will accept at an address, when one process does not any more.
#pragma once

#include <string>

#include "daemon/setup/setup.h"

#include <lastcall/supervisor/supervisor.h>

namespace lastcall {

// Another process may have taken the address over, or be about to, or come back to it. `next`: what
// may run soon, null where nothing changes.
bool WillBeServed(const std::string& address, const Process& leaving, const Supervisor& supervisor,
                  const Sockets& running, const Setup* next);

}  // namespace lastcall
