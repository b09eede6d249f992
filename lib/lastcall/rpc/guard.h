// The guard: an interceptor that enters a call in the registry before its handler runs, and ends it after its
// status was sent. Of most unary calls UnaryGuard does that.
#pragma once

#include <memory>
#include <string_view>

#include <grpcpp/support/server_interceptor.h>

#include <lastcall/rpc/call_registry.h>
#include <lastcall/rpc/canary.h>
#include <lastcall/rpc/unary_guard.h>

namespace lastcall {

// Health and reflection: their streams are never work in flight.
bool IsHousekeeping(std::string_view method);

// `calls`, `unary` and `canary` must outlive the server that the guard is given to. The canary's calls are no
// calls to anybody else.
std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface> MakeGuard(
    CallRegistry& calls, const UnaryGuard& unary, Canary& canary);

}  // namespace lastcall
