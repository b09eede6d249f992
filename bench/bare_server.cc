// The baseline of the benches: the services of bare_echo.h in a gRPC server without anything around it.
//
//   bare_server [--callback] [--interceptor] [ADDRESS [CONNECTION_AGE_MS]]
//
// Prints its port. SIGTERM ends it as gRPC's own documentation says: Shutdown with a deadline. With an
// age, connections are sent away when they have it, give or take a tenth, and may finish their calls.
// With --interceptor each call has one that does nothing.
#include <grpcpp/grpcpp.h>
#include <grpcpp/support/server_interceptor.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "bare_echo.h"

namespace {

using grpc::experimental::Interceptor;
using grpc::experimental::ServerInterceptorFactoryInterface;

class Passing final : public Interceptor {
  void Intercept(grpc::experimental::InterceptorBatchMethods* methods) override {
    methods->Proceed();
  }
};

class PassingFactory final : public ServerInterceptorFactoryInterface {
  Interceptor* CreateServerInterceptor(grpc::experimental::ServerRpcInfo*) override {
    return new Passing;
  }
};

}  // namespace

int main(int, char** argv) {
  sigset_t term;
  sigemptyset(&term);
  sigaddset(&term, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &term, nullptr);
  bool callback = false;
  bool interceptor = false;
  char** next = argv + 1;
  for (; *next != nullptr && std::string_view(*next).starts_with("--"); ++next) {
    callback |= *next == std::string_view("--callback");
    interceptor |= *next == std::string_view("--interceptor");
  }
  lastcall::example::BareEcho service;
  lastcall::example::BareCallbackEcho callback_service;
  int port = 0;
  grpc::ServerBuilder builder;
  builder.AddListeningPort(*next != nullptr ? *next++ : "127.0.0.1:0",
                           grpc::InsecureServerCredentials(), &port);
  if (callback) {
    builder.RegisterService(&callback_service);
  } else {
    builder.RegisterService(&service);
  }
  if (interceptor) {
    std::vector<std::unique_ptr<ServerInterceptorFactoryInterface>> factories;
    factories.push_back(std::make_unique<PassingFactory>());
    builder.experimental().SetInterceptorCreators(std::move(factories));
  }
  if (*next != nullptr) {
    builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_AGE_MS, std::atoi(*next));
  }
  const auto server = builder.BuildAndStart();
  if (server == nullptr) return 1;
  std::printf("%d\n", port);
  std::fflush(stdout);
  int signal = 0;
  sigwait(&term, &signal);
  server->Shutdown(std::chrono::system_clock::now() + std::chrono::seconds(10));
}
