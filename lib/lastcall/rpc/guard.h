// The guard: an interceptor that enters every call in the registry before its handler runs, and ends
// it after its status was sent.
#pragma once

#include <memory>
#include <string_view>

#include <grpcpp/support/server_interceptor.h>

#include <lastcall/rpc/call_registry.h>
#include <lastcall/rpc/canary.h>

namespace lastcall {

// Health and reflection: their streams are never work in flight.
bool IsHousekeeping(std::string_view method);

// `calls` and `canary` must outlive the server that the guard is given to. The canary's calls are no
// calls to anybody else. `refused` runs for each call that gRPC
// refuses for want of a thread (ServerLimits::threads), in any thread; it must not block.
std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface> MakeGuard(
    CallRegistry& calls, Canary& canary, std::function<void()> refused);

}  // namespace lastcall
