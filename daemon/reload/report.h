// What became of a reload or a restart, for whoever requested it.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "daemon/setup/fingerprints.h"

#include <lastcall/base/clock.h>
#include <lastcall/base/result.h>
#include <lastcall/lifecycle/cause.h>
#include <lastcall/supervisor/supervisor.h>

namespace lastcall {

struct ReloadReport {
  bool another_build = false;  // of lastcalld was found
  std::vector<ConfigChange> changes;
  std::vector<Supervisor::Outcome> processes;  // empty: it has only begun
  // Another build takes over; what has become of it is for that one to say, by this number. 0: none.
  uint64_t continues = 0;
};

// Called once, in the loop's thread.
using ReloadDone = std::function<void(Result<ReloadReport>)>;

// The last reload, for who looks later.
struct ReloadNote {
  WallTime at{};
  Cause by;
  std::string refusal;  // empty: it was not refused
  ReloadReport report;
};

}  // namespace lastcall
