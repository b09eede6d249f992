// grpc.health.v1.Health on a completion queue and thread of its own: Check, List and Watch cost no
// handler thread, wait for no plugin, and do not turn a sync server into a callback one.
#pragma once

#include <grpcpp/server_builder.h>

#include <cstdint>
#include <functional>
#include <memory>

#include <lastcall/rpc/health_board.h>

namespace lastcall {

// What its thread is called.
inline constexpr char kHealthThread[] = "lc-health";

class HealthService {
 public:
  // `on_idle` runs in the thread of the service when in_flight() has become zero.
  HealthService(HealthBoard& board, std::function<void()> on_idle);
  ~HealthService();

  // `others_poll`: the server has methods that gRPC itself polls for. Order: before the server is built.
  void Register(grpc::ServerBuilder& builder, bool others_poll);
  void Start();  // after BuildAndStart
  // Connections have been sent away. A client that has heard it ends its Watch by itself, and takes
  // one that the server ends for a sick server, though the GOAWAY came first: grpc-go fails its calls.
  // So a Watch whose client was told SERVING ends the second time, others now; after their last status.
  void SendGoaway();
  // Ends every Watch that is there, after its last status. Otherwise they would hold the server's
  // shutdown.
  void EndStreams();
  // Checks and Lists that are not answered yet. Threads: any.
  int64_t in_flight() const;
  // Ends its thread. Order: after the server has shut down and before it is destroyed: gRPC looks at
  // the server when it takes the last requests from the queue.
  void Stop();

 private:
  class Core;
  std::unique_ptr<Core> core_;
};

}  // namespace lastcall
