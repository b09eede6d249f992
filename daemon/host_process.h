// A process of our own host: lastcall-host as a child, its control channel and its end.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "daemon/channel.h"
#include "daemon/config.h"
#include "lastcall/worker/v1/worker.pb.h"

#include <lastcall/rpc/listener.h>
#include <lastcall/supervisor/supervisor.h>

namespace lastcall {

// Threads: the loop's.
class HostProcess final : public Process {
 public:
  struct Options {
    std::string name;
    std::vector<const ServerConfig*> servers;
    // Of each server, bound; shared by all incarnations. Must outlive the process.
    std::vector<const std::vector<Listener>*> sockets;
    std::string program;  // lastcall-host
    Budget shutdown;
    std::optional<Duration> quiet;
    Duration ready = kForever;  // how long a start may take
    std::function<std::string()> log_level;
    std::function<bool(const std::string& server)> draining;
    std::function<void(Request)> request_stop;  // by a plugin
    std::function<void()> reported;             // there is a report that nobody asked for
    Log log;
  };

  HostProcess(boost::asio::io_context& loop, Options options);
  // A child that is still alive loses its supervisor and stops by itself.
  ~HostProcess() override;

  // Order: before BeginStart. Whom to tell, and this process's place there.
  void Attach(Supervisor& supervisor, size_t member);

  void BeginStart(uint32_t incarnation) override;
  void Accept() override;
  void SetDraining(const std::string& server, bool draining) override;
  void BeginStop(const Plan& plan, const std::vector<Ledger::Entry>& requests) override;
  void Kill() override;

  void SetLogLevel(const std::string& level);
  void Dump();
  // Asks for a fresh report; `answered` runs when it came, or when the process is gone.
  void BeginQuery(std::function<void()> answered);

  pid_t pid() const { return pid_; }
  // Whether the last query was answered, or is young.
  bool answering() const;
  // The last one that came from the current incarnation.
  const worker::v1::Report& report() const { return report_; }

 private:
  class Life;  // one incarnation's descriptors

  worker::v1::ToHost Configuration(uint32_t incarnation) const;
  std::vector<int> Sockets() const;
  void Send(worker::v1::ToHost message);
  void Flush();
  void AwaitMessages();
  void AwaitExit();
  bool ReadMessages();
  void Handle(const worker::v1::FromHost& message);
  void Exited();
  void CannotStart(const std::string& why);
  void Answer();

  boost::asio::io_context& loop_;
  const Options options_;
  Supervisor* supervisor_ = nullptr;
  size_t member_ = 0;

  uint32_t incarnation_ = 0;
  pid_t pid_ = 0;
  std::shared_ptr<Life> life_;  // null between incarnations
  worker::v1::Report report_;
  uint32_t last_query_ = 0;
  Instant asked_{};  // when the query began that is open
  std::vector<std::function<void()>> asking_;
};

}  // namespace lastcall
