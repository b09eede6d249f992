#include "daemon/process/hosts.h"

#include <utility>

#include "daemon/process/host_spec.h"
#include "daemon/process/who_serves.h"

namespace lastcall {

Hosts::Hosts(Parts parts)
    : parts_(std::move(parts)), log_(parts_.logger.log()), lingering_(parts_.loop) {}

ProcessSpec Hosts::SpecOf(const Setup& setup, const std::string& process) {
  ProcessSpec spec = lastcall::SpecOf(setup.config, process);
  auto host = std::make_shared<const HostSpec>(HostSpecOf(setup, process, parts_.program));
  spec.make = [this, host = std::move(host)](uint32_t incarnation) {
    HostContext& context = *this;
    return std::make_unique<HostProcess>(parts_.loop, host, incarnation, context, log_);
  };
  return spec;
}

std::unique_ptr<Process> Hosts::Resume(const std::string& process, uint32_t incarnation,
                                       const state::v1::Host& saved) {
  HostContext& context = *this;
  return std::make_unique<HostProcess>(parts_.loop, process, saved, incarnation, context, log_);
}

bool Hosts::IsDraining(const std::string& server) const {
  return parts_.supervisor->draining().contains(server);
}

bool Hosts::WillBeServed(const std::string& address, const Process& leaving) const {
  return lastcall::WillBeServed(address, leaving, *parts_.supervisor, parts_.running.sockets,
                                parts_.candidate());
}

}  // namespace lastcall
