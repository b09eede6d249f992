// CallDirectory: every call in flight in this process, by its context. The one global of the library:
// gRPC gives a handler nothing but its context, and Call::Of must find the call from there.
#pragma once

#include <memory>

namespace grpc {
class ServerContextBase;
}

namespace lastcall {

class LiveCall;

// A context is an address here: nobody looks into it. Threads: any.
class CallDirectory {
 public:
  // gRPC may give a context's memory to the next call before the last one's end was told: it is the
  // next one's from here on. Gives the last one back; null: there is none.
  static std::shared_ptr<LiveCall> Enter(const grpc::ServerContextBase* context,
                                         std::shared_ptr<LiveCall> call);
  // Nothing happens where the context is another call's already.
  static void Leave(const grpc::ServerContextBase* context, const LiveCall& call);
  // Null: none.
  static std::shared_ptr<LiveCall> Find(const grpc::ServerContextBase* context);
};

}  // namespace lastcall
