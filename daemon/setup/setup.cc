#include "daemon/setup/setup.h"

#include <algorithm>
#include <set>
#include <string>
#include <string_view>

namespace lastcall {
namespace {

// The servers and settings of `processes` become those of `after`, where there may be none.
void TakeOver(Setup& setup, const Setup& after, const std::set<std::string>& processes) {
  const auto changed = [&](const ServerConfig& server) {
    return processes.contains(server.process);
  };
  // One of `after` may have been another process's.
  std::set<std::string_view> moved;
  for (const ServerConfig& server : after.config.servers) {
    if (changed(server)) moved.insert(server.name);
  }
  std::erase_if(setup.config.servers, [&](const ServerConfig& server) {
    return changed(server) || moved.contains(server.name);
  });
  std::erase_if(setup.config.processes,
                [&](const ProcessConfig& one) { return processes.contains(one.name); });
  for (const std::string& process : processes) setup.fingerprints.erase(process);
  for (const ServerConfig& server : after.config.servers) {
    if (!changed(server)) continue;
    setup.config.servers.push_back(server);
    setup.sockets[server.name] = after.sockets.at(server.name);
  }
  for (const ProcessConfig& one : after.config.processes) {
    if (!processes.contains(one.name)) continue;
    setup.config.processes.push_back(one);
    setup.fingerprints[one.name] = after.fingerprints.at(one.name);
  }
}

}  // namespace

Setup SetupOf(Prepared prepared) {
  return {.config = std::move(prepared.config),
          .fingerprints = std::move(prepared.fingerprints),
          .roles = std::move(prepared.roles),
          .sockets = {}};
}

bool AllDone(const std::vector<Supervisor::Outcome>& outcomes, const Changes& changes) {
  return outcomes.size() ==
             changes.added.size() + changes.replaced.size() + changes.removed.size() &&
         std::all_of(outcomes.begin(), outcomes.end(),
                     [](const Supervisor::Outcome& one) { return one.failure.empty(); });
}

Setup Merge(Setup before, const Setup& after, const std::vector<Supervisor::Outcome>& outcomes) {
  std::set<std::string> changed;
  for (const Supervisor::Outcome& outcome : outcomes) {
    if (outcome.failure.empty()) changed.insert(outcome.process);
  }
  TakeOver(before, after, changed);
  // Nobody is behind the sockets of a server that went with a process that was changed.
  std::set<std::string_view> servers;
  for (const ServerConfig& server : before.config.servers) servers.insert(server.name);
  std::erase_if(before.sockets, [&](const auto& bound) { return !servers.contains(bound.first); });
  return before;
}

Supervisor::Options SupervisorOptions(const Config& config) {
  return {.shutdown = config.shutdown,
          .ready = config.ready,
          .settle = config.settle,
          .retire = config.reload_grace,
          .keep = config.keep};
}

}  // namespace lastcall
