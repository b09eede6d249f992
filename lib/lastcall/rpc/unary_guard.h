// UnaryGuard: what the guard (guard.h) is for streams, for unary methods at less cost.
//
// An interceptor makes gRPC go round once more for each step of a call: one that does nothing costs an empty
// call 4 to 7 % of its CPU. A unary call has nothing between its beginning and its answer to be told of, so
// the server is given the service's handlers wrapped.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include <lastcall/rpc/call_registry.h>

namespace grpc {
class Server;
class Service;
}  // namespace grpc

namespace lastcall {

class UnaryGuard {
 public:
  using Refused = std::function<void(const char* method)>;

  // `refused` runs for each call of any method that gRPC refuses for want of a thread (ServerLimits::threads),
  // in any thread; it must not block. `calls` must outlive this.
  UnaryGuard(CallRegistry& calls, Refused refused);
  ~UnaryGuard();

  // What is to be registered in place of the service: this guard's, or the service itself where some of its
  // methods are of gRPC's asynchronous or generic API. Both must outlive the server. Order: before the
  // server is built.
  grpc::Service& Wrap(grpc::Service& service);
  // Order: once the server is built, before anybody can call it.
  void WatchRefusals(grpc::Server& server);

  // Whether calls of the method that has this name are guarded here, told by the name's address. Threads: any,
  // from when the server is built.
  bool Guards(const char* method) const;

 private:
  class Wrapped;

  CallRegistry& calls_;
  const Refused refused_;
  std::vector<std::unique_ptr<Wrapped>> services_;
  std::vector<const char*> methods_;  // sorted
};

}  // namespace lastcall
