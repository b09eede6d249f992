// A program with a main of its own: one service, and the same ending as under the daemon. SIGTERM
// (delay, grace, cancel), the second signal, the receipt.
#include <lastcall/host/host.h>
#include <lastcall/signals/signals.h>

#include "hello.grpc.pb.h"

using namespace std::chrono_literals;

class Greeter final : public hello::Greeter::Service {
  grpc::Status Greet(grpc::ServerContext*, const hello::Name* in, hello::Greeting* out) override {
    out->set_text("Hello, " + in->name());
    return grpc::Status::OK;
  }
};

int main(int argc, char** argv) {
  lastcall::BlockSignals();  // before the first thread
  Greeter greeter;
  lastcall::Host host({.name = "embed", .shutdown = {.delay = 0s, .grace = 20s, .cancel = 5s}});
  const auto added = host.AddServer({.listen = {argc > 1 ? argv[1] : "127.0.0.1:50051"},
                                     .services = {&greeter},
                                     .reflection = true});
  if (!added) return host.ReportStartError(added.error());
  const int code = host.Run();
  puts(host.receipt().ToJson().c_str());
  return code;
}
