// An order to a host from whoever holds the other end of its channel: configurations are read by
// plugins, plans are adopted, and the stages end.
#include <sys/socket.h>

#include <cstdlib>
#include <string>
#include <utility>

#include "tests/fuzz/packets.h"
#include "tests/fuzz/target.h"
#include "wire/channel.h"
#include "wire/configuration_message.h"
#include "wire/convert.h"

#include <lastcall/base/log.h>
#include <lastcall/base/safe_text.h>
#include <lastcall/lifecycle/lifecycle.h>
#include <lastcall/testing/fake_clock.h>

namespace lastcall {
namespace {

void Read(const host::v1::PluginSpec& plugin) {
  const PluginConfig config = ConfigOf("public", plugin);
  for (const auto& value : plugin.config()) {
    try {
      switch (value.value_case()) {
        case host::v1::ConfigValue::kInteger: (void)config.Integer(value.key()); break;
        case host::v1::ConfigValue::kNumber: (void)config.Number(value.key()); break;
        case host::v1::ConfigValue::kBoolean: (void)config.Boolean(value.key(), true); break;
        case host::v1::ConfigValue::kTexts: (void)config.Strings(value.key()); break;
        default: (void)config.Duration(value.key()); break;
      }
    } catch (const ConfigError&) {
    }
  }
  (void)config.Unread();
}

class HostLife {
 public:
  void Obey(const host::v1::ToHost& order) {
    for (const auto& server : order.configure().servers()) {
      for (const auto& plugin : server.plugins()) Read(plugin);
    }
    for (const auto& plugin : order.preflight().plugins()) Read(plugin.plugin());
    if (order.has_configure() && lifecycle_.stage() == Stage::kStarting) {
      const host::v1::Configure& configure = order.configure();
      lifecycle_.Configure({FromSeconds(configure.delay_s()), FromSeconds(configure.grace_s()),
                            FromSeconds(configure.cancel_s())});
      lifecycle_.Happened(Event::kBecameReady, clock_.Now());
    }
    (void)FromProto(order.set_log_level().level());
    if (!order.has_stop()) return;
    lifecycle_.Adopt(FromProto(order.stop()), FromProto(order.stop().requests()), clock_.Now());
    clock_.Advance(std::chrono::milliseconds(10));
    lifecycle_.Advance(clock_.Now());
  }

  void End() {
    lifecycle_.RequestStop({.at = clock_.Now()}, clock_.Now());
    for (int stages = 0; lifecycle_.stage() != Stage::kStopped; ++stages) {
      if (stages > 5) std::abort();
      if (lifecycle_.next_instant() == kNever) {
        lifecycle_.RequestStop({.at = clock_.Now(), .skip = true}, clock_.Now());
      } else {
        clock_.AdvanceTo(lifecycle_.next_instant());
        lifecycle_.Advance(clock_.Now());
      }
    }
    Receipt receipt;
    lifecycle_.Complete(receipt);
    const v1::Receipt sent = ToProto(receipt);
    const std::string json = FromProto(sent).ToJson();
    if (!IsSafeText(json)) std::abort();
    v1::Receipt received;
    if (!received.ParseFromString(sent.SerializeAsString())) std::abort();
  }

 private:
  FakeClock clock_;
  Lifecycle lifecycle_{Budget(), clock_.Now()};
};

}  // namespace
}  // namespace lastcall

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using lastcall::Channel;
  lastcall::Packets packets(data, size);
  const auto ends = lastcall::Channel::Pair();
  lastcall::HostLife host;
  for (lastcall::Packets::Packet each; packets.Next(each);) {
    const std::string packet = (each.what % 4 == 0 ? "" : "i") + std::string(each.bytes);
    if (packet.empty() || send(ends->first.fd(), packet.data(), packet.size(), MSG_DONTWAIT) < 0) {
      continue;
    }
    lastcall::host::v1::ToHost order;
    if (ends->second.TryReceive(order, nullptr) == Channel::Received::kYes) host.Obey(order);
  }
  host.End();
  return 0;
}
