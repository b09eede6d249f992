#include "lastcall/rpc/unpolled_queue.h"

#include <grpc/grpc.h>
#include <grpcpp/completion_queue.h>

#include <utility>

#include "lastcall/rpc/grpc_privates.h"

namespace lastcall {
namespace {

grpc_completion_queue* NewUnpolled() {
  const grpc_completion_queue_attributes attributes{GRPC_CQ_CURRENT_VERSION, GRPC_CQ_NEXT,
                                                    GRPC_CQ_NON_POLLING, nullptr};
  return grpc_completion_queue_create(grpc_completion_queue_factory_lookup(&attributes),
                                      &attributes, nullptr);
}

}  // namespace

std::unique_ptr<grpc::CompletionQueue> MakeUnpolledQueue() {
  return std::make_unique<grpc::CompletionQueue>(NewUnpolled());
}

void Unpoll(grpc::ServerCompletionQueue& queue) {
  grpc_completion_queue* const polled = std::exchange(InnerQueue(queue), NewUnpolled());
  grpc_completion_queue_shutdown(polled);
  grpc_completion_queue_destroy(polled);
}

}  // namespace lastcall
