// The baseline of call.py: the echo service's Unary in a gRPC server without anything around it.
#include <grpcpp/grpcpp.h>
#include <unistd.h>

#include <cstdio>

#include "echo.grpc.pb.h"

namespace {

class BareEcho final : public lastcall::example::Echo::Service {
  grpc::Status Unary(grpc::ServerContext*, const lastcall::example::EchoRequest* request,
                     lastcall::example::EchoReply* reply) override {
    reply->set_text(request->text());
    reply->set_pid(getpid());
    return grpc::Status::OK;
  }
};

}  // namespace

int main() {
  BareEcho service;
  int port = 0;
  grpc::ServerBuilder builder;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
  builder.RegisterService(&service);
  const auto server = builder.BuildAndStart();
  std::printf("%d\n", port);
  std::fflush(stdout);
  server->Wait();
}
