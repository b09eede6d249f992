// What gRPC's C++ library keeps to itself and we need: all of it is here.
//
// An explicit instantiation may name a private member (C++20, [temp.spec.general]/6), so the compiler still
// checks that it is there and what it is; another gRPC that has it otherwise does not compile.
#pragma once

#include <grpcpp/completion_queue.h>
#include <grpcpp/impl/rpc_service_method.h>
#include <grpcpp/impl/service_type.h>
#include <grpcpp/server.h>

#include <memory>
#include <vector>

namespace lastcall {

// What a queue is in the C library, which it owns.
grpc_completion_queue*& InnerQueue(grpc::CompletionQueue& queue);

// Null: one whose calls somebody else asks for, of gRPC's generic API.
const std::vector<std::unique_ptr<grpc::internal::RpcServiceMethod>>& MethodsOf(
    const grpc::Service& service);

// What answers a synchronous call for whose handler there is no thread; null: the server has no synchronous
// methods. Order: from when the server is built.
std::unique_ptr<grpc::internal::MethodHandler>& RefusalHandlerOf(grpc::Server& server);

}  // namespace lastcall
