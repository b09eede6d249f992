#include "daemon/setup/setup.h"

#include <algorithm>

namespace lastcall {
namespace {

// The servers and settings of `process` become those of `after`, where it may not exist.
void TakeOver(Setup& setup, const Setup& after, const std::string& process) {
  const auto of_it = [&](const ServerConfig& server) { return server.process == process; };
  const auto named = [&](const ProcessConfig& one) { return one.name == process; };
  std::erase_if(setup.config.servers, of_it);
  std::erase_if(setup.config.processes, named);
  setup.contents.erase(process);
  for (const ServerConfig& server : after.config.servers) {
    if (!of_it(server)) continue;
    // It may have been another process's.
    std::erase_if(setup.config.servers, [&](const auto& one) { return one.name == server.name; });
    setup.config.servers.push_back(server);
    setup.sockets[server.name] = after.sockets.at(server.name);
  }
  for (const ProcessConfig& one : after.config.processes) {
    if (!named(one)) continue;
    setup.config.processes.push_back(one);
    setup.contents[process] = after.contents.at(process);
  }
}

}  // namespace

Setup SetupOf(Prepared prepared) {
  return {.config = std::move(prepared.config),
          .contents = std::move(prepared.contents),
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
  for (const Supervisor::Outcome& outcome : outcomes) {
    if (outcome.failure.empty()) TakeOver(before, after, outcome.process);
  }
  // Nobody is behind the sockets of a server that went with a process that was changed.
  std::erase_if(before.sockets, [&](const auto& bound) {
    return std::none_of(before.config.servers.begin(), before.config.servers.end(),
                        [&](const ServerConfig& server) { return server.name == bound.first; });
  });
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
