// bare_echo.so, for hosting.py: the services of bare_server as a plugin. With `callback = true` that of
// the callback API.
#include "bare_echo.h"

#include <lastcall/plugin.h>

namespace lastcall::example {
namespace {

class BareEchoPlugin final : public Plugin {
 public:
  explicit BareEchoPlugin(PluginHost& host) : callback_(Callback(host.config())) {}

  static void Check(const PluginConfig& config) { Callback(config); }

  std::vector<grpc::Service*> Services() override {
    if (callback_) return {&reactors_};
    return {&handlers_};
  }

 private:
  static bool Callback(const PluginConfig& config) { return config.Boolean("callback", false); }

  const bool callback_;
  BareEcho handlers_;
  BareCallbackEcho reactors_;
};

}  // namespace
}  // namespace lastcall::example

LASTCALL_PLUGIN(lastcall::example::BareEchoPlugin, "1.0.0")
