// Some methods of the echo service, by both of gRPC's APIs, without anything around them: what
// bare_server serves by itself and bare_echo.so under lastcall-host.
#pragma once

#include <grpcpp/grpcpp.h>
#include <unistd.h>

#include <chrono>
#include <thread>

#include "echo.grpc.pb.h"

namespace lastcall::example {

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

}  // namespace lastcall::example
