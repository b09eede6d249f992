// What the daemon runs, or could run instead: a configuration, what its files held, who may speak to
// the admin socket, and the sockets.
#pragma once

#include <unistd.h>

#include <string>
#include <vector>

#include "daemon/admin/roles.h"
#include "daemon/config/config.h"
#include "daemon/setup/fingerprints.h"
#include "daemon/setup/listening_sockets.h"
#include "daemon/setup/preparation.h"

#include <lastcall/supervisor/supervisor.h>

namespace lastcall {

struct Setup {
  Config config;
  Fingerprints fingerprints;
  Roles roles{{}, {}, geteuid()};
  Sockets sockets;  // of every server of `config`, once they are bound
};

// Its sockets are yet to be bound.
Setup SetupOf(Prepared prepared);

// Whether every change was made.
bool AllDone(const std::vector<Supervisor::Outcome>& outcomes, const Changes& changes);

// What runs when not all of them were: `before`, with those processes as they are in `after` whose
// change was made.
Setup Merge(Setup before, const Setup& after, const std::vector<Supervisor::Outcome>& outcomes);

Supervisor::Options SupervisorOptions(const Config& config);

}  // namespace lastcall
