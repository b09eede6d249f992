// A process of our own host: lastcall-host as a child, its control channel and its end.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "daemon/config/config.h"
#include "lastcall/state/v1/state.pb.h"
#include "lastcall/worker/v1/worker.pb.h"
#include "wire/channel.h"
#include "wire/host_allowance.h"

#include <lastcall/net/listener.h>
#include <lastcall/supervisor/supervisor.h>

namespace lastcall {

// What a process is to run. Shared by its incarnations, until it is changed.
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
};

class HostProcess;

// What a process needs of the daemon.
class HostSurroundings {
 public:
  virtual ~HostSurroundings() = default;
  virtual std::string LogLevelName() const = 0;
  virtual bool IsDraining(const std::string& server) const = 0;
  // There is a report that nobody asked for.
  virtual void Reported() = 0;
  // Whether anybody will accept at this address, as bound, when `leaving` does not any more.
  virtual bool WillBeServed(const std::string& address, const HostProcess& leaving) const = 0;
  // It has ended, or these of its servers have: this was the last that it said of them.
  virtual void Ended(const worker::v1::Report& last) = 0;
  // See worker::v1::LeftBehind.
  virtual void LeftBehind(std::vector<UniqueFd> connections) = 0;
  virtual Supervisor& supervisor() = 0;
};

// One incarnation. Threads: the loop's.
class HostProcess final : public Process {
 public:
  // `member`: its place in the supervisor's list.
  HostProcess(boost::asio::io_context& loop, std::shared_ptr<const HostSpec> spec, size_t member,
              uint32_t incarnation, HostSurroundings& surroundings, Log log);
  // One that runs, as it was saved; `name` is its process.
  HostProcess(boost::asio::io_context& loop, std::string name, const state::v1::Host& saved,
              size_t member, uint32_t incarnation, HostSurroundings& surroundings, Log log);
  // A child that is still alive loses its supervisor and stops by itself.
  ~HostProcess() override;

  // Everything that is needed to go on with it in another program; nothing where there is no child.
  // Its descriptors are added to `descriptors`.
  std::optional<state::v1::Host> Save(std::vector<int>& descriptors) const;

  void BeginStart() override;
  void Accept(bool accept) override;
  void SetDraining(const std::string& server, bool draining) override;
  void BeginStop(const Plan& plan, const std::vector<Ledger::Entry>& requests) override;
  void BeginRetire(const Plan& plan, const std::vector<Ledger::Entry>& requests) override;
  void Kill() override;

  void SetLogLevel(const std::string& level);
  void Dump();
  // Asks for a fresh report; `answered` runs when it came, or when the process is gone.
  void BeginQuery(std::function<void()> answered);

  pid_t pid() const { return pid_; }
  // As bound, where it accepts or would; of the daemon's own sockets, not of systemd's.
  const std::set<std::string>& addresses() const { return addresses_; }
  // Whether the last query was answered, or is young.
  bool answering() const;
  // The last one that came.
  const worker::v1::Report& report() const { return report_; }

 private:
  class Wire;  // descriptors

  worker::v1::ToHost Configuration() const;
  std::vector<int> Sockets() const;
  void Stop(const Plan& plan, const std::vector<Ledger::Entry>& requests, bool replaced);
  void Send(worker::v1::ToHost message);
  void Flush();
  void AwaitMessages();
  void AwaitExit();
  bool ReadMessages();
  Channel::Received ReadOne(size_t& bytes);
  void Handle(const worker::v1::FromHost& message);
  void KillFor(const std::string& misconduct);
  void Exited();
  void CannotStart(const std::string& why);
  void Answer();

  boost::asio::io_context& loop_;
  const std::string name_;
  std::shared_ptr<const HostSpec>
      spec_;  // until it was sent: it holds sockets that others may drop
  const size_t member_;
  const uint32_t incarnation_;
  HostSurroundings& surroundings_;
  const Log log_;
  std::set<std::string> addresses_;

  pid_t pid_ = 0;
  std::string making_;          // the plugin that is being loaded and made
  bool killed_ = false;         // by us
  std::string misconduct_;      // why; from then on nobody listens to it
  std::shared_ptr<Wire> wire_;  // null before the start and after the end
  HostAllowance allowance_;
  worker::v1::Report report_;
  uint32_t last_query_ = 0;
  Instant asked_{};  // when the query began that is open
  std::vector<std::function<void()>> asking_;
};

}  // namespace lastcall
