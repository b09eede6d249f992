// Server: listening sockets, limits and the services behind them; one grpc::Server.
//
// It is built with everything it will ever have, starts paused and NOT_SERVING, and is ended once:
// BeginRetire, then, if the calls do not end by themselves, Cancel.
//
// Needs a gRPC that can send GOAWAY without shutting down (goaway.h). With another, `warn` says so,
// and connections are given an age instead, after which they end by themselves: a retirement then
// takes up to half a minute.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <lastcall/base/clock.h>
#include <lastcall/base/result.h>
#include <lastcall/base/unique_fd.h>
#include <lastcall/lifecycle/leave_spread.h>
#include <lastcall/lifecycle/termination.h>
#include <lastcall/net/limits.h>
#include <lastcall/net/listener.h>
#include <lastcall/net/tls.h>
#include <lastcall/rpc/call_registry.h>
#include <lastcall/rpc/canary_report.h>
#include <lastcall/rpc/leave_teller.h>
#include <lastcall/rpc/lingering.h>

namespace grpc {
class Server;
class Service;
}  // namespace grpc

namespace lastcall {

class Prober;

struct ServerOptions {
  std::string name;
  std::vector<Listener> listeners;       // none: its connections come by Take
  std::vector<grpc::Service*> services;  // must outlive the server
  bool reflection = false;
  ServerLimits limits;
  std::optional<TlsMaterial> tls;                // as LoadTls gives it; empty: plaintext
  std::function<void(const std::string&)> warn;  // any thread
  // When given: as if gRPC could not send a GOAWAY alone. The age that connections reach instead.
  std::optional<Duration> age;
  // What is remembered of finished calls takes no more than this: bytes.
  size_t finished_bytes = 64 << 10;
  // Gives its canary its turns, from its start until it retires; must outlive the server. Null: it has
  // no canary, unless BeginProbe is to be called.
  Prober* prober = nullptr;
  bool probed = false;
};

// How a server retires.
struct RetireOptions {
  LeaveSpread leave = LeaveSpread::Within({}, {});  // when its calls are told: at once
  // Nobody else listens now: those who wait in the queue still come in, as far as a moment goes. See
  // Acceptor::BeginEnd, for the next as well.
  bool last_call = false;
  std::set<std::string> unserved = {};  // addresses that nobody will accept at any more
  // Where connections come by Take: blocks until no more do. In the thread of the retirement.
  std::function<void()> closed = [] {};
  // Where somebody else serves what the clients send next: takes the connections over that their
  // clients have yet to close. See Retirement::Begin.
  ConnectionSink heir;
};

class Server {
 public:
  // Fails: kInvalidArgument (two services of one name), kResourceExhausted (no thread is left: what a
  // stop will need is made here), kInternal.
  static Result<std::unique_ptr<Server>> Start(ServerOptions options, const Clock& clock,
                                               Termination termination);
  // Blocks: until every handler has returned, when it was not retired before.
  ~Server();

  const std::string& name() const { return name_; }
  const std::vector<std::string>& addresses() const { return addresses_; }
  const std::vector<std::string>& services() const { return services_; }

  // Threads: any. Once Accept(false) has returned, nothing more is accepted; what waits in the queue
  // stays there for others who listen.
  void Accept(bool accept);
  bool accepting() const;
  // A connection that somebody else accepted, non-blocking. Its calls' peer() is "unix:NAME": what
  // the client says of itself does not show there. See PeerName. Order: not after RetireOptions::closed.
  // Threads: any.
  void Take(UniqueFd connection, const std::string& name);
  // Health of the whole server, and of one service by its plugin (false: it has no such service).
  void SetServing(bool serving);
  bool SetServiceServing(std::string_view service, bool serving);
  bool serving() const;
  size_t CountConnections();
  const CallRegistry& calls() const { return calls_; }
  // For synchronous handlers, that it may have; 0: as many as it likes.
  size_t threads() const { return threads_; }
  // What its canary has found; empty: it has none, or none any more. Threads: any.
  std::optional<CanaryReport> canary() const;
  // See Canary. Threads: one.
  bool BeginProbe(std::function<void()> answered);
  // Fails: kNotFound, it has no such method. Order: before it accepts.
  Result<> SetStalls(const StallLimits& limits) { return calls_.SetStalls(limits); }

  // Asks the clients that are connected now to take their next calls elsewhere. Threads: as
  // BeginRetire. Does not block.
  void SendGoaway();
  // Stops accepting for good, which may take a moment yet, sends the clients away and tells their
  // calls to leave. `retired` runs in a thread of its own when no connection and no call is left.
  // Does not block.
  void BeginRetire(const RetireOptions& how, std::function<void()> retired);
  // Cancels the calls in flight. Does not block.
  void Cancel();

 private:
  class Grpc;  // everything of gRPC's
  static Result<std::unique_ptr<Server>> Build(ServerOptions options, const Clock& clock,
                                               Termination termination);
  Server(std::string name, const Clock& clock, Termination termination);

  const std::string name_;
  const Clock& clock_;
  std::vector<std::string> addresses_;
  std::vector<std::string> services_;
  size_t threads_ = 0;
  CallRegistry calls_;
  LeaveTeller leave_teller_;
  std::unique_ptr<Grpc> grpc_;
};

}  // namespace lastcall
