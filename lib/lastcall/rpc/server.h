// Server: listening sockets, limits and the services behind them; one grpc::Server.
//
// It is built with everything it will ever have, starts paused and NOT_SERVING, and is ended once:
// BeginRetire, then, if the calls do not end by themselves, Cancel.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <lastcall/base/clock.h>
#include <lastcall/base/result.h>
#include <lastcall/lifecycle/termination.h>
#include <lastcall/rpc/call_registry.h>
#include <lastcall/rpc/listener.h>

namespace grpc {
class Server;
class Service;
}  // namespace grpc

namespace lastcall {

// What a server lets its peers take. Zero: gRPC's default.
struct ServerLimits {
  size_t connections = 10000;         // more wait in the kernel's queue
  int streams = 100;                  // concurrent calls of one connection
  size_t message = 4 << 20;           // bytes of one message received
  int threads = 0;                    // of synchronous handlers
  Duration keepalive = std::chrono::seconds(60);  // silence after which a client is pinged
  Duration keepalive_timeout = std::chrono::seconds(10);
  Duration handshake = std::chrono::seconds(10);
};

struct ServerOptions {
  std::string name;
  std::vector<Listener> listeners;
  std::vector<grpc::Service*> services;  // must outlive the server
  bool reflection = false;
  ServerLimits limits;
  // Looks at a connection before it is handed over; false closes it. In the acceptor's thread.
  std::function<bool(int fd)> admit;
  std::function<void(const std::string&)> warn;  // any thread
};

class Server {
 public:
  // `on_idle` runs, in any thread and without blocking, each time the last call in flight has ended
  // once WatchIdle was called. Fails: kInvalidArgument (two services of one name), kInternal.
  static Result<std::unique_ptr<Server>> Start(ServerOptions options, const Clock& clock,
                                               Termination termination,
                                               std::function<void()> on_idle);
  // Blocks: until every handler has returned, when it was not retired before.
  ~Server();

  const std::string& name() const { return name_; }
  const std::vector<std::string>& addresses() const { return addresses_; }
  const std::vector<std::string>& services() const { return services_; }

  // Threads: any. Once Accept(false) has returned, nothing more is accepted.
  void Accept(bool accept);
  bool accepting() const;
  // Health of the whole server, and of one service by its plugin (false: it has no such service).
  void SetServing(bool serving);
  bool SetServiceServing(std::string_view service, bool serving);
  bool serving() const;
  size_t CountConnections();
  const CallRegistry& calls() const { return calls_; }

  void WatchIdle() { calls_.WatchIdle(); }
  // Stops accepting, sends the clients away, tells calls to leave, spread from now to `leave_by`.
  // `retired` runs in a thread of its own when nothing is left. Does not block.
  void BeginRetire(Instant leave_by, std::function<void()> retired);
  // Cancels the calls in flight. Does not block.
  void Cancel();

 private:
  class Grpc;  // everything of gRPC's
  Server(std::string name, const Clock& clock, Termination termination,
         std::function<void()> on_idle);

  const std::string name_;
  std::vector<std::string> addresses_;
  std::vector<std::string> services_;
  CallRegistry calls_;
  std::unique_ptr<Grpc> grpc_;
};

}  // namespace lastcall
