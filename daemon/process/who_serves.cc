#include "daemon/process/who_serves.h"

#include <algorithm>

namespace lastcall {
namespace {

// While a stop has not come to its grace.
bool AcceptsInDelay(const Supervisor::State& state, const Life& life) {
  const bool taken_over = state.successor && state.successor->took_over;
  const Life& accepting = taken_over ? *state.successor : static_cast<const Life&>(state);
  const bool lives = life.phase == Phase::kRunning || life.phase == Phase::kStopping;
  return &life == &accepting && lives && life.stage < Stage::kGrace;
}

// One that ends without having been asked to is started again.
bool GoesOn(const Supervisor::State& state, const Life& life) {
  switch (life.phase) {
    case Phase::kStarting:
    case Phase::kRunning:
    case Phase::kWaiting: return true;
    case Phase::kStopping: return &life == &state && !state.removed;
    case Phase::kDown: return &life == &state && state.stays_down && !state.removed;
  }
  return false;
}

// One that has no process, as one does that waits to be started again, goes by its servers' sockets.
bool Has(const Supervisor::State& state, const Process* process, const std::string& address,
         const Sockets& running) {
  if (process != nullptr) return process->ListensOn(address);
  for (const std::string& server : state.member.servers) {
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
  for (const Supervisor::State& state : supervisor.members()) {
    bool serves = false;
    ForEachLife(state, [&](const Life& life) {
      const bool counts = stopping ? AcceptsInDelay(state, life) : GoesOn(state, life);
      serves = serves || (counts && life.process.get() != &leaving &&
                          Has(state, life.process.get(), address, running));
    });
    if (serves) return true;
  }
  if (stopping || next == nullptr) return false;
  const auto sockets = AllOf(next->sockets);
  return std::any_of(sockets.begin(), sockets.end(),
                     [&](const auto& listener) { return listener->address() == address; });
}

}  // namespace lastcall
