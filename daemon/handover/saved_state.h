// Between what the daemon is and the state that is handed to a new build: each part writes itself, and
// reads itself back.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "daemon/setup/setup.h"
#include "lastcall/state/v1/state.pb.h"

#include <lastcall/net/listener.h>
#include <lastcall/supervisor/supervisor.h>
#include <lastcall/systemd/listen_fds.h>

namespace lastcall {

struct StateWriter {
  state::v1::State state;
  std::vector<int> descriptors;  // whose numbers are in it, to be kept open

  int Keep(int fd) {
    descriptors.push_back(fd);
    return fd;
  }
};

state::v1::Incarnation::Phase ToProto(Phase phase);
// kDown for what is no phase.
Phase FromProto(state::v1::Incarnation::Phase phase);

// All but the process itself.
state::v1::Incarnation ToProto(const Incarnation& incarnation);
Incarnation FromProto(const state::v1::Incarnation& saved);

// All but the incarnations.
state::v1::Member ToProto(const Member& member);
// `spec.make` is left empty.
Member::Resumed FromProto(const state::v1::Member& saved);

state::v1::Socket ToProto(const Listener& listener, StateWriter& writer);
// Takes the descriptor; so do all below.
Listener FromProto(const state::v1::Socket& saved);

void Save(const Setup& setup, StateWriter& writer);
// Fails: kFailedPrecondition, this build does not understand the configuration.
Result<Setup> SetupIn(const state::v1::State& state);

void Save(const ActivationSockets& passed, StateWriter& writer);
ActivationSockets PassedIn(const state::v1::State& state);

void Save(const Supervisor& supervisor, StateWriter& writer);
using SpecNamed = std::function<ProcessSpec(const std::string& process)>;
using HostFrom = std::function<std::unique_ptr<Process>(
    const std::string& process, uint32_t incarnation, const state::v1::Host& host)>;
Supervisor::Resumed ResumedFrom(const state::v1::State& state, const SpecNamed& spec_named,
                                const HostFrom& host_from);

}  // namespace lastcall
