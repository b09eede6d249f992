#include <lastcall/plugin.h>

#include "hello.grpc.pb.h"

class Greeter final : public lastcall::Plugin, public hello::Greeter::Service {
 public:
  explicit Greeter(lastcall::PluginHost& host) : word_(host.config().String("word", "Hello")) {}
  std::vector<grpc::Service*> Services() override { return {this}; }
  grpc::Status Greet(grpc::ServerContext*, const hello::Name* in, hello::Greeting* out) override {
    out->set_text(word_ + ", " + in->name());
    return grpc::Status::OK;
  }

 private:
  const std::string word_;
};
LASTCALL_PLUGIN(Greeter, "1.0.0")
