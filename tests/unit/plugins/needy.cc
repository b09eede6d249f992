#include <lastcall/plugin.h>

#include "needy.pb.h"

class Needy final : public lastcall::Plugin {
 public:
  explicit Needy(lastcall::PluginHost&) { wrong::Needy().mutable_common(); }
  std::vector<grpc::Service*> Services() override { return {}; }
};
LASTCALL_PLUGIN(Needy, "1.0.0")
