// Hosts: the processes of our own host, as the supervisor is to make them, and what they need of the
// daemon around them.
#pragma once

#include <boost/asio/io_context.hpp>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "daemon/process/ended_calls.h"
#include "daemon/process/host_process.h"
#include "daemon/process/lingering_connections.h"
#include "daemon/setup/setup.h"
#include "lastcall/state/v1/state.pb.h"
#include "wire/logging.h"

#include <lastcall/event/subscription.h>
#include <lastcall/supervisor/supervisor.h>

namespace lastcall {

// Threads: the loop's. The processes that it makes must not outlive it.
class Hosts final : private HostContext {
 public:
  struct Parts {
    boost::asio::io_context& loop;
    std::string program;  // lastcall-host
    const Setup& running;
    const std::optional<Supervisor>& supervisor;  // there before any process is
    // What may run soon; null: nothing changes.
    std::function<const Setup*()> candidate;
    // A process has said something that a status shows.
    Callback reported;
    // See HostContext.
    Callback stalls_changed;
    const Logger& logger;
  };
  explicit Hosts(Parts parts);

  // A process of the setup, with what makes it.
  ProcessSpec SpecOf(const Setup& setup, const std::string& process);
  // One that runs, as it was saved.
  std::unique_ptr<Process> Resume(const std::string& process, uint32_t incarnation,
                                  const state::v1::Host& saved);

  EndedCalls& ended_calls() { return ended_calls_; }
  const EndedCalls& ended_calls() const { return ended_calls_; }
  LingeringConnections& lingering() { return lingering_; }
  const LingeringConnections& lingering() const { return lingering_; }

 private:
  LogLevel log_level() const override { return parts_.logger.level(); }
  bool IsDraining(const std::string& server) const override;
  void Reported() override { parts_.reported(); }
  void StallsChanged() override { parts_.stalls_changed(); }
  bool WillBeServed(const std::string& address, const Process& leaving) const override;
  void Ended(const std::vector<ServerView>& last) override { ended_calls_.Add(last); }
  void LeftBehind(std::vector<UniqueFd> connections) override {
    lingering_.Add(std::move(connections));
  }

  const Parts parts_;
  const Log log_;
  EndedCalls ended_calls_;
  LingeringConnections lingering_;
};

}  // namespace lastcall
