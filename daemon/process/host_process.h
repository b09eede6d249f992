// A process of our own host: lastcall-host as a child, its control channel and its end.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "daemon/process/call_source.h"
#include "daemon/process/child_watch.h"
#include "daemon/process/host_spec.h"
#include "lastcall/host/v1/host.pb.h"
#include "lastcall/state/v1/state.pb.h"
#include "wire/channel.h"
#include "wire/host_allowance.h"

#include <lastcall/supervisor/process.h>

namespace lastcall {

// What a process needs of the daemon.
class HostContext {
 public:
  virtual ~HostContext() = default;
  virtual LogLevel log_level() const = 0;
  virtual bool IsDraining(const std::string& server) const = 0;
  // There is a report that no one requested.
  virtual void Reported() = 0;
  // Another number of its calls is stalled, or it is frozen now, or no longer.
  virtual void StallsChanged() = 0;
  // See who_serves.h; `address` is as bound.
  virtual bool WillBeServed(const std::string& address, const Process& leaving) const = 0;
  // It has ended, or these of its servers have: this was the last that it said of them.
  virtual void Ended(const std::vector<ServerView>& last) = 0;
  // See host::v1::LeftBehind.
  virtual void LeftBehind(std::vector<UniqueFd> connections) = 0;
};

// One incarnation. Threads: the loop's.
class HostProcess final : public Process, private Drainable, private CallSource {
 public:
  HostProcess(boost::asio::io_context& loop, std::shared_ptr<const HostSpec> spec,
              uint32_t incarnation, HostContext& context, Log log);
  // One that runs, as it was saved; `name` is its process.
  HostProcess(boost::asio::io_context& loop, std::string name, const state::v1::Host& saved,
              uint32_t incarnation, HostContext& context, Log log);
  // A child that is still alive loses its supervisor and stops by itself.
  ~HostProcess() override;

  void BeginStart(std::shared_ptr<ProcessEvents> events) override;
  void Resume(std::shared_ptr<ProcessEvents> events) override;
  // A state::v1::Host.
  std::optional<SavedProcess> Save() const override;
  void Accept(bool accept) override;
  void BeginStop(const Plan& plan, const std::vector<Ledger::Entry>& requests) override;
  void BeginRetire(const Plan& plan, const std::vector<Ledger::Entry>& requests) override;
  void Kill() override;

  void SetLogLevel(LogLevel level) override;
  void Dump() override;
  void BeginQuery(std::function<void()> answered) override;

  pid_t pid() const override { return child_ ? child_->pid() : 0; }
  bool answering() const override;
  const std::vector<ServerView>& servers() const override { return servers_; }
  bool ListensOn(const std::string& address) const override { return addresses_.contains(address); }
  Drainable* drainable() override { return this; }
  CallSource* calls() override { return this; }

 private:
  class Wire;

  void SetDraining(const std::string& server, bool draining) override;
  void BeginAsk(host::v1::CallsQuestion question, std::weak_ptr<CallsListener> listener) override;
  void Heard(host::v1::CallsAnswer& answer);
  host::v1::ToHost Configuration() const;
  std::vector<int> Sockets() const;
  bool SendConfiguration() const;
  void Stop(const Plan& plan, const std::vector<Ledger::Entry>& requests, bool replaced);
  void Send(host::v1::ToHost message);
  void Flush();
  void Await();
  void AwaitMessages();
  bool ReadMessages();
  Channel::Received ReadOne(size_t& bytes);
  void Handle(host::v1::FromHost& message);
  void Heard(const host::v1::Report& report);
  void SetServers(std::vector<ServerView> servers);
  void KillFor(const std::string& misconduct);
  void Exited(ExitStatus status);
  void CannotStart(const std::string& why);
  void Answer();

  boost::asio::io_context& loop_;
  const std::string name_;
  // Until it was sent: it holds sockets that others may drop.
  std::shared_ptr<const HostSpec> spec_;
  const uint32_t incarnation_;
  HostContext& context_;
  const Log log_;
  std::set<std::string> addresses_;  // as bound, of the daemon's own sockets
  std::shared_ptr<ProcessEvents> events_;

  std::optional<ChildWatch> child_;  // none before the start
  std::string constructing_;         // the plugin that is being loaded and made
  bool killed_ = false;              // by us
  std::string misconduct_;           // why; from then on nobody listens to it
  std::shared_ptr<Wire> wire_;       // null before the start and after the end
  HostAllowance allowance_;
  host::v1::Report report_;          // the last one that came, to hand on
  std::vector<ServerView> servers_;  // the same, made safe
  bool frozen_ = false;              // the same, as it was told of last
  uint32_t last_query_ = 0;
  Instant asked_{};  // when the query began that is open
  std::vector<std::function<void()>> asking_;
  uint32_t last_question_ = 0;  // about its calls
  struct OpenQuestion {
    Instant asked;
    std::weak_ptr<CallsListener> listener;
  };
  std::map<uint32_t, OpenQuestion> open_questions_;  // by number, so the oldest first
};

}  // namespace lastcall
