// grpc.health.v1.Health on a completion queue and thread of its own: Check, List and Watch cost no
// handler thread, wait for no plugin, and do not turn a sync server into a callback one.
#pragma once

#include <grpcpp/server_builder.h>

#include <memory>

#include <lastcall/rpc/health_board.h>

namespace lastcall {

class HealthService {
 public:
  explicit HealthService(HealthBoard& board);
  ~HealthService();

  void Register(grpc::ServerBuilder& builder);
  void Start();  // after BuildAndStart
  // Ends every Watch, after its last status; later ones end at once. Otherwise they would hold the
  // server's shutdown.
  void EndStreams();
  // Ends its thread. Order: after the server has shut down and before it is destroyed: gRPC looks at
  // the server when it takes the last requests from the queue.
  void Stop();

 private:
  class Core;
  std::unique_ptr<Core> core_;
};

}  // namespace lastcall
