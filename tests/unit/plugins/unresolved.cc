#include <lastcall/plugin.h>

namespace shop {
grpc::Service* Missing(int number);
}

class Unresolved final : public lastcall::Plugin {
 public:
  explicit Unresolved(lastcall::PluginHost&) {}
  std::vector<grpc::Service*> Services() override { return {shop::Missing(1)}; }
};
LASTCALL_PLUGIN(Unresolved, "1.0.0")
