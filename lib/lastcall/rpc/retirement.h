// How a gRPC server ends: the one place that knows gRPC's ways of shutting down.
#pragma once

#include <functional>
#include <memory>

#include <lastcall/rpc/connections.h>

namespace grpc {
class Server;
}

namespace lastcall {

// Threads: one at a time. Nothing here blocks but the destructor.
class Retirement {
 public:
  virtual ~Retirement() = default;

  // Sends the clients away and lets their calls finish, for as long as they take. `retired` runs in
  // a thread of the retirement when no call is left.
  virtual void Begin(std::function<void()> retired) = 0;
  // Cancels the calls that are left, and soon after closes the connections of peers that say
  // nothing. Order: after Begin.
  virtual void Cancel() = 0;
};

// By grpc::Server::Shutdown without a deadline. It loses the calls that meet the shutdown on their
// way: gRPC answers them with CANCELLED, which clients do not retry.
// Destroying it blocks until every handler has returned.
std::unique_ptr<Retirement> MakePlainRetirement(grpc::Server& server, Connections& connections);

}  // namespace lastcall
