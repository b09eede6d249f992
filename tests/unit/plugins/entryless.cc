#include <lastcall/plugin.h>

class Entryless final : public lastcall::Plugin {
 public:
  std::vector<grpc::Service*> Services() override { return {}; }
};
