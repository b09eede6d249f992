#include <lastcall/plugin.h>

class Thrower final : public lastcall::Plugin {
 public:
  explicit Thrower(lastcall::PluginHost&) { throw 42; }
  static void Check(const lastcall::PluginConfig&) { throw "no"; }
  std::vector<grpc::Service*> Services() override { return {}; }
};
LASTCALL_PLUGIN(Thrower, "1.0.0")
