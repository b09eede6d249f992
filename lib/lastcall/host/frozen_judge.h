// FrozenJudge: whether a process is frozen. Its canary and what its threads are known to do must both
// say so, for long: one of them alone is slowness, for which nothing is ended. Pure.
#pragma once

#include <cstddef>
#include <optional>
#include <vector>

#include <lastcall/base/clock.h>
#include <lastcall/rpc/canary_report.h>
#include <lastcall/threads/doing.h>
#include <lastcall/threads/pause.h>

namespace lastcall {

class FrozenJudge {
 public:
  // What one look at the process gave.
  struct Evidence {
    bool serving = false;                               // it neither starts nor stops
    Lateness::Cause lateness = Lateness::Cause::kNone;  // of who looks
    std::vector<CanaryReport> canaries;                 // of all servers that have one
    size_t threads = 0;             // that run every callback handler of the process
    std::vector<Doing::What> held;  // of those, what each does that a handler does not give back
    // Since the look before a call began, ended, or had a message come or go: on any server.
    bool progress = false;
  };

  // `after`: how long all of it must say so, without a break.
  explicit FrozenJudge(Duration after) : after_(after) {}

  // Whether it says so at this moment. Of synchronous servers nothing ever does: gRPC refuses what finds
  // no thread, and so their canary says "full".
  static bool Suspects(const Evidence& evidence);
  // One look after another. True: it is frozen.
  bool Look(const Evidence& evidence, Instant now);

 private:
  const Duration after_;
  std::optional<Instant> since_;  // all looks from then on said so
  bool frozen_ = false;           // as of the last look
};

}  // namespace lastcall
