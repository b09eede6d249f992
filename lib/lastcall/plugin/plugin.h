// What a plugin is: a shared object with one or more gRPC services, made once for each server that
// names it.
//
//   class Greeter final : public lastcall::Plugin, public hello::Greeter::Service {
//    public:
//     explicit Greeter(lastcall::PluginHost& host) : greeting_(host.config().String("greeting", "Hello")) {}
//     std::vector<grpc::Service*> Services() override { return {this}; }
//     grpc::Status Greet(grpc::ServerContext*, const hello::Name* name, hello::Greeting* out) override {
//       out->set_text(greeting_ + ", " + name->name());
//       return grpc::Status::OK;
//     }
//    private:
//     const std::string greeting_;
//   };
//   LASTCALL_PLUGIN(Greeter, "1.0.0")
//
// Build it with lastcall_add_plugin(). This header is installed as <lastcall/plugin.h>.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include <lastcall/base/clock.h>
#include <lastcall/base/log.h>
#include <lastcall/lifecycle/termination.h>
#include <lastcall/plugin/config.h>
#include <lastcall/plugin/offload.h>
#include <lastcall/rpc/call.h>

namespace grpc {
class Service;
}

namespace lastcall {

// What the host gives to a plugin. Threads: any. Lives longer than the plugin.
class PluginHost {
 public:
  virtual ~PluginHost() = default;

  virtual std::string_view plugin() const = 0;  // its name, as configured
  virtual std::string_view server() const = 0;
  virtual const PluginConfig& config() const = 0;
  // What instants and deadlines are told by; a test has its own.
  virtual const Clock& clock() const = 0;
  virtual void Log(LogLevel level, std::string_view message) = 0;
  // Sets the health of one of the plugin's own services ("package.Service"). During a shutdown it
  // changes nothing: health cannot come back then.
  virtual void SetServing(std::string_view service, bool serving) = 0;
  virtual Termination termination() const = 0;
  // Threads and a queue of the plugin's own, for what blocks or computes.
  virtual Offload offload() const = 0;
  // Asks for shutdown of the whole daemon, merged with every other request. Does not block; may be
  // called from a handler.
  virtual void RequestShutdown(std::string_view reason) = 0;
};

class Plugin {
 public:
  virtual ~Plugin() = default;

  // Called once, after construction. The services live as long as the plugin.
  virtual std::vector<grpc::Service*> Services() = 0;

  // Called once, after the last handler and the last offloaded work have returned, in reverse order of
  // construction. What has not returned by the deadline is named in the receipt, and the process ends without it.
  virtual void Stop(Deadline by) noexcept { static_cast<void>(by); }
};

// What LASTCALL_PLUGIN exports. The manifest has been compared before it is read.
struct PluginEntry {
  uint32_t abi;
  const char* version;
  // Fails: throws; the start is refused with what() and the plugin's name.
  std::unique_ptr<Plugin> (*create)(PluginHost& host);
  // What `lastcalld --check` can know without starting; null: the plugin has no Check.
  void (*check)(const PluginConfig& config);
};

// Raised by every change of the headers that a plugin sees.
inline constexpr uint32_t kPluginAbi = 3;
inline constexpr char kPluginEntrySymbol[] = "lastcall_plugin";

namespace internal {

template <class P>
constexpr auto CheckOf() -> void (*)(const PluginConfig&) {
  if constexpr (requires(const PluginConfig& config) { P::Check(config); }) {
    return &P::Check;
  } else {
    return nullptr;
  }
}

}  // namespace internal
}  // namespace lastcall

// Makes `type`, a Plugin constructible from PluginHost&, the plugin of this shared object. An
// optional `static void Check(const PluginConfig&)` runs at `lastcalld --check`; it throws on error.
#define LASTCALL_PLUGIN(type, version_text)                                     \
  extern "C" __attribute__((visibility("default")))                             \
  const ::lastcall::PluginEntry lastcall_plugin = {                             \
      ::lastcall::kPluginAbi, version_text,                                     \
      [](::lastcall::PluginHost& host) -> std::unique_ptr<::lastcall::Plugin> { \
        return std::make_unique<type>(host);                                    \
      },                                                                        \
      ::lastcall::internal::CheckOf<type>()};
