#include "lastcall/rpc/grpc_privates.h"

namespace lastcall {
namespace {

template <class Name, auto kMember>
struct Opened {
  friend auto MemberOf(Name) { return kMember; }
};

struct Inner {
  friend auto MemberOf(Inner);
};
struct Methods {
  friend auto MemberOf(Methods);
};
struct RefusalHandler {
  friend auto MemberOf(RefusalHandler);
};
template struct Opened<Inner, &grpc::CompletionQueue::cq_>;
template struct Opened<Methods, &grpc::Service::methods_>;
template struct Opened<RefusalHandler, &grpc::Server::resource_exhausted_handler_>;

}  // namespace

grpc_completion_queue*& InnerQueue(grpc::CompletionQueue& queue) {
  return queue.*MemberOf(Inner());
}

const std::vector<std::unique_ptr<grpc::internal::RpcServiceMethod>>& MethodsOf(
    const grpc::Service& service) {
  return service.*MemberOf(Methods());
}

std::unique_ptr<grpc::internal::MethodHandler>& RefusalHandlerOf(grpc::Server& server) {
  return server.*MemberOf(RefusalHandler());
}

}  // namespace lastcall
