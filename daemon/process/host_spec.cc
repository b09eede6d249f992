#include "daemon/process/host_spec.h"

namespace lastcall {

HostSpec HostSpecOf(const Setup& setup, const std::string& process,
                    const std::string& host_program) {
  const Config& config = setup.config;
  HostSpec spec{.name = process,
                .servers = {},
                .program = host_program,
                .shutdown = config.shutdown,
                .quiet = config.quiet,
                .ready = config.ready};
  for (const ProcessConfig& one : config.processes) {
    if (one.name == process) spec.frozen_after = one.frozen_after;
  }
  for (const ServerConfig& server : config.servers) {
    if (server.process != process) continue;
    HostSpec::Served& served = spec.servers.emplace_back();
    served.config = server;
    for (const Bound& bound : setup.sockets.at(server.name)) {
      served.sockets.push_back(bound.listener);
    }
  }
  return spec;
}

ProcessSpec SpecOf(const Config& config, const std::string& process) {
  ProcessSpec spec{.name = process};
  for (const ProcessConfig& one : config.processes) {
    if (one.name != process) continue;
    spec.restart = one.restart;
    spec.frozen = one.frozen;
  }
  for (const ServerConfig& server : config.servers) {
    if (server.process == process) spec.servers.push_back(server.name);
  }
  return spec;
}

}  // namespace lastcall
