// What a host is to run, made from the setup.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "daemon/config/config.h"
#include "daemon/setup/setup.h"

#include <lastcall/net/listener.h>

namespace lastcall {

// Shared by the incarnations of a process, until it is changed.
struct HostSpec {
  // A server with its listening sockets, bound; shared with other incarnations.
  struct Served {
    ServerConfig config;
    std::vector<std::shared_ptr<const Listener>> sockets;
  };
  std::string name;
  std::vector<Served> servers;
  std::string program;  // lastcall-host
  Budget shutdown;
  std::optional<Duration> quiet;
  Duration ready = kForever;  // how long a start may take
  Duration frozen_after = std::chrono::seconds(10);
};

HostSpec HostSpecOf(const Setup& setup, const std::string& process,
                    const std::string& host_program);

// What the supervisor is told of a process; `make` is left empty.
ProcessSpec SpecOf(const Config& config, const std::string& process);

}  // namespace lastcall
