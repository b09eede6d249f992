// How long a call takes through the queues of a server, as its canary (canary.h) found.
#pragma once

#include <optional>

#include <lastcall/base/clock.h>

namespace lastcall {

struct CanaryReport {
  enum class State {
    kOk,       // the last probe was answered, or the first is under way
    kFull,     // it was refused, for every thread that the server may have is at work
    kOverdue,  // it is not answered, though this process has had time for it
  };
  State state = State::kOk;
  // Whether it goes through the queue of callback methods, which all servers of a process share.
  bool callback = false;
  // From when a probe was sent until its handler had answered: of the last one that was. Empty: none was,
  // or nothing can be said of it.
  std::optional<Duration> latency;
  // When the one was sent that is not answered yet; while kOverdue alone. Time in which the whole
  // process did not run does not count, and has this moved on.
  std::optional<Instant> since;
};

}  // namespace lastcall
