// Completion queues that are waited in without polling.
//
// In gRPC whoever waits in a queue may become the one thread that polls for the whole process. Where its
// own business is rare, every call of everybody else then pays for being handed on by it.
#pragma once

#include <memory>

namespace grpc {
class CompletionQueue;
class ServerCompletionQueue;
}  // namespace grpc

namespace lastcall {

std::unique_ptr<grpc::CompletionQueue> MakeUnpolledQueue();

// Makes one of those out of a server's, which gRPC makes in two other kinds alone. What is to happen in it
// is noticed by the pollers of other queues, of which there must be some. Order: as soon as the queue is
// there, before the server is built.
void Unpoll(grpc::ServerCompletionQueue& queue);

}  // namespace lastcall
