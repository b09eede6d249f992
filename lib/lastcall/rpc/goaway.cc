#include "lastcall/rpc/goaway.h"

#include <dlfcn.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/support/byte_buffer.h>

#include <utility>

namespace lastcall {
namespace {

// grpc_core::Server::SendGoaways(): of libgrpc.so.29, where the grpc_server* of the C API is that
// object. gRPC's own tests of xDS use it.
constexpr char kSymbol[] = "_ZN9grpc_core6Server11SendGoawaysEv";
constexpr char kSeries[] = "1.51.";

struct Task {
  void (*send)(void*);
  void* server;
};

// gRPC's core does its work in an execution context of the thread, which only it can make. Dropping
// the last reference to a slice does: the slice's `destroy` runs inside it.
void RunInExecCtx(Task task) {
  static char nothing[1];
  const auto run = [](void* data) {
    const auto* const what = static_cast<Task*>(data);
    what->send(what->server);
  };
  grpc::ByteBuffer last;
  {
    grpc::Slice slice(nothing, sizeof(nothing), run, &task);
    last = grpc::ByteBuffer(&slice, 1);
  }
  last.Clear();
}

}  // namespace

std::function<void(grpc::Server&)> FindGoaway() {
  if (grpc::Version().rfind(kSeries, 0) != 0) return {};
  const auto send = reinterpret_cast<void (*)(void*)>(dlsym(RTLD_DEFAULT, kSymbol));
  if (send == nullptr) return {};
  return [send](grpc::Server& server) { RunInExecCtx({send, server.c_server()}); };
}

}  // namespace lastcall
