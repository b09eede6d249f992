#include "host/preflight.h"

#include <poll.h>
#include <unistd.h>

#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "host/trusted_plugin.h"
#include "lastcall/host/v1/host.pb.h"
#include "wire/configuration_message.h"

#include <lastcall/base/exit_code.h>
#include <lastcall/host/process_audit.h>

namespace lastcall {
namespace {

using host::v1::FromHost;
using host::v1::ToHost;

// A plugin may hang, and this process with it: nobody would wait for it any more.
void EndWith(const Channel& channel) {
  std::thread([fd = channel.fd()] {
    pollfd one{fd, 0, 0};  // hang-ups alone
    while (poll(&one, 1, -1) < 0) {
    }
    _exit(kExitInternal);
  }).detach();
}

std::optional<host::v1::Preflight> AwaitPreflight(const Channel& channel) {
  for (;;) {
    ToHost order;
    switch (channel.TryReceive(order, nullptr)) {
      case Channel::Received::kNothingYet: channel.WaitReadable(); continue;
      case Channel::Received::kYes:
        if (order.has_preflight()) return order.preflight();
        continue;
      case Channel::Received::kClosed:
      case Channel::Received::kMalformed:
      case Channel::Received::kRefused: return std::nullopt;
    }
  }
}

class PluginPreflight {
 public:
  PluginPreflight(const Channel& channel, uint32_t place, const host::v1::PluginOfServer& plugin,
                  ProcessAudit& audit)
      : channel_(channel), place_(place), plugin_(plugin), audit_(audit) {}

  // What is wrong with it; empty: nothing. `unchecked`: see PluginConfig.
  std::string Run(std::vector<std::string>& unchecked) {
    Announce("loading it");
    const auto library = OpenTrustedPlugin(plugin_.plugin().path());
    audit_.Inspect("it");
    if (!library) return library.error().message;
    Announce("its Check");
    const PluginConfig config = ConfigOf(plugin_.server(), plugin_.plugin());
    const auto checked = library->Check(config);
    audit_.Inspect("it");
    if (!checked) return checked.error().message;
    unchecked = config.Unchecked();
    return "";
  }

 private:
  void Announce(const std::string& step) const {
    FromHost message;
    message.mutable_preflight_step()->set_plugin(place_);
    message.mutable_preflight_step()->set_step(step);
    channel_.Send(message);
  }

  const Channel& channel_;
  const uint32_t place_;
  const host::v1::PluginOfServer& plugin_;
  ProcessAudit& audit_;
};

}  // namespace

int RunPreflight(const Channel& channel) {
  const auto preflight = AwaitPreflight(channel);
  if (!preflight) return 1;
  EndWith(channel);
  std::vector<std::string> warnings;
  ProcessAudit audit([&](LogLevel, std::string_view what) { warnings.emplace_back(what); });
  for (uint32_t place = 0; place < static_cast<uint32_t>(preflight->plugins_size()); ++place) {
    FromHost message;
    host::v1::PreflightResult& tried = *message.mutable_preflight_result();
    tried.set_plugin(place);
    std::vector<std::string> unchecked;
    tried.set_problem(
        PluginPreflight(channel, place, preflight->plugins(static_cast<int>(place)), audit)
            .Run(unchecked));
    for (std::string& warning : std::exchange(warnings, {})) {
      tried.add_warnings(std::move(warning));
    }
    for (std::string& key : unchecked) tried.add_unchecked(std::move(key));
    channel.Send(message);
  }
  // What the plugins would do at their end is not asked.
  _exit(0);
}

}  // namespace lastcall
