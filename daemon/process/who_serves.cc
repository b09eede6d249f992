#include "daemon/process/who_serves.h"

#include <algorithm>

namespace lastcall {
namespace {

// While a stop has not come to its grace.
bool AcceptsInDelay(const Member& member, const Incarnation& incarnation) {
  const bool taken_over = member.successor() && member.successor()->took_over;
  const Incarnation& accepting = taken_over ? *member.successor() : member.current();
  const bool lives = incarnation.phase == Phase::kRunning || incarnation.phase == Phase::kStopping;
  return &incarnation == &accepting && lives && incarnation.stage < Stage::kGrace;
}

// One that ends without having been asked to is started again.
bool GoesOn(const Member& member, const Incarnation& incarnation) {
  switch (incarnation.phase) {
    case Phase::kStarting:
    case Phase::kRunning:
    case Phase::kWaiting: return true;
    case Phase::kStopping: return &incarnation == &member.current() && !member.removed();
    case Phase::kDown:
      return &incarnation == &member.current() && member.stays_down() && !member.removed();
  }
  return false;
}

// One that has no process, as one does that waits to be started again, goes by its servers' sockets.
bool Has(const Member& member, const Process* process, const std::string& address,
         const Sockets& running) {
  if (process != nullptr) return process->ListensOn(address);
  for (const std::string& server : member.spec().servers) {
    const auto bound = running.find(server);
    if (bound == running.end()) continue;
    for (const Bound& one : bound->second) {
      if (one.listener->address() == address) return true;
    }
  }
  return false;
}

}  // namespace

// In a stop it is whoever accepts there and has not come to grace itself: by `quiet` one does before
// the other.
bool WillBeServed(const std::string& address, const Process& leaving, const Supervisor& supervisor,
                  const Sockets& running, const Setup* next) {
  const bool stopping = IsStopping(supervisor.stage());
  for (const Member& member : supervisor.members()) {
    bool serves = false;
    ForEachIncarnation(member, [&](const Incarnation& incarnation) {
      const bool counts =
          stopping ? AcceptsInDelay(member, incarnation) : GoesOn(member, incarnation);
      serves = serves || (counts && incarnation.process.get() != &leaving &&
                          Has(member, incarnation.process.get(), address, running));
    });
    if (serves) return true;
  }
  if (stopping || next == nullptr) return false;
  const auto sockets = AllOf(next->sockets);
  return std::any_of(sockets.begin(), sockets.end(),
                     [&](const auto& listener) { return listener->address() == address; });
}

}  // namespace lastcall
