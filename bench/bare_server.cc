// The baseline of call.py and loss.py: some methods of the echo service in a gRPC server without
// anything around it.
//
//   bare_server [ADDRESS [CONNECTION_AGE_MS]]
//   bare_server callback
//
// Prints its port. SIGTERM ends it as gRPC's own documentation says: Shutdown with a deadline. With an
// age, connections are sent away when they have it, give or take a tenth, and may finish their calls.
// The other form, for canary.py, serves the smallest of the methods by the callback API.
#include <grpcpp/grpcpp.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <string_view>
#include <thread>

#include "echo.grpc.pb.h"

namespace {

using lastcall::example::Echo;
using lastcall::example::EchoReply;
using lastcall::example::EchoRequest;
using lastcall::example::SlowRequest;

class BareEcho final : public Echo::Service {
  grpc::Status Unary(grpc::ServerContext*, const EchoRequest* request, EchoReply* reply) override {
    reply->set_text(request->text());
    reply->set_pid(getpid());
    return grpc::Status::OK;
  }

  grpc::Status Slow(grpc::ServerContext*, const SlowRequest* request, EchoReply*) override {
    std::this_thread::sleep_for(std::chrono::milliseconds(request->delay_ms()));
    return grpc::Status::OK;
  }

  grpc::Status ServerStream(grpc::ServerContext*, const EchoRequest* request,
                            grpc::ServerWriter<EchoReply>* out) override {
    for (int number = 0; number < request->count(); ++number) {
      if (number > 0)
        std::this_thread::sleep_for(std::chrono::milliseconds(request->interval_ms()));
      if (!out->Write(EchoReply())) break;
    }
    return grpc::Status::OK;
  }

  grpc::Status Bidi(grpc::ServerContext*,
                    grpc::ServerReaderWriter<EchoReply, EchoRequest>* stream) override {
    EchoRequest request;
    while (stream->Read(&request)) {
      if (!stream->Write(EchoReply())) break;
    }
    return grpc::Status::OK;
  }
};

class BareCallbackEcho final : public Echo::CallbackService {
  grpc::ServerUnaryReactor* Unary(grpc::CallbackServerContext* context, const EchoRequest* request,
                                  EchoReply* reply) override {
    reply->set_text(request->text());
    reply->set_pid(getpid());
    grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
    reactor->Finish(grpc::Status::OK);
    return reactor;
  }
};

}  // namespace

int main(int argc, char** argv) {
  sigset_t term;
  sigemptyset(&term);
  sigaddset(&term, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &term, nullptr);
  BareEcho service;
  BareCallbackEcho callback_service;
  const bool callback = argc > 1 && argv[1] == std::string_view("callback");
  int port = 0;
  grpc::ServerBuilder builder;
  builder.AddListeningPort(argc > 1 && !callback ? argv[1] : "127.0.0.1:0",
                           grpc::InsecureServerCredentials(), &port);
  if (callback) {
    builder.RegisterService(&callback_service);
  } else {
    builder.RegisterService(&service);
  }
  if (argc > 2) builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_AGE_MS, std::atoi(argv[2]));
  const auto server = builder.BuildAndStart();
  if (server == nullptr) return 1;
  std::printf("%d\n", port);
  std::fflush(stdout);
  int signal = 0;
  sigwait(&term, &signal);
  server->Shutdown(std::chrono::system_clock::now() + std::chrono::seconds(10));
}
