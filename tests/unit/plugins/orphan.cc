#include <lastcall/plugin.h>

extern "C" int Lost();

class Orphan final : public lastcall::Plugin {
 public:
  explicit Orphan(lastcall::PluginHost&) { Lost(); }
  std::vector<grpc::Service*> Services() override { return {}; }
};
LASTCALL_PLUGIN(Orphan, "1.0.0")
