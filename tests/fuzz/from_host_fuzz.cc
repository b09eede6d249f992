// A host that says anything, in any order, at any time: the supervisor lives on, never asks its clock
// for what has passed, and ends when it is asked to.
#include <sys/socket.h>

#include <cstdlib>
#include <string>
#include <utility>

#include "daemon/process/host_events.h"
#include "tests/fuzz/packets.h"
#include "tests/fuzz/target.h"
#include "wire/channel.h"
#include "wire/convert.h"

#include <lastcall/base/safe_text.h>
#include <lastcall/testing/fake_clock.h>
#include <lastcall/testing/fake_process.h>
#include <lastcall/testing/recording_observer.h>

namespace lastcall {
namespace {

using namespace std::chrono_literals;

// Two members, of which the first is the one that talks.
class Scene {
 public:
  Scene()
      : supervisor_({.shutdown = {1s, 5s, 1s}, .ready = 10s, .settle = 1s, .keep = 2},
                    {Spec("talks", talks_), Spec("silent", silent_)}, clock_, observer_,
                    [](LogLevel, std::string_view said) { ExpectSafe(std::string(said)); }) {
    supervisor_.Start();
    silent_.events().Ready();
  }

  void Do(const Packets::Packet& packet) {
    switch (packet.what % 8) {
      case 0:
      case 1: return Say(packet.bytes, false);
      case 2: return Say(packet.bytes, true);
      case 3: return Wait(packet.bytes.size() * 10ms);
      case 4: return talks_.events().Exited({.code = static_cast<int>(packet.bytes.size())});
      case 5: {
        Supervisor::Change change;
        change.spec = {.name = "talks"};
        (void)supervisor_.BeginChanges({change}, {}, [](const auto&) {});
        return;
      }
      case 6:  // from the incarnation before
        if (talks_.incarnation() > 1) Hear(packet.bytes, talks_.incarnation() - 1);
        return;
      default: return supervisor_.OnRequest({.at = clock_.Now()}), void();
    }
  }

  // Nobody says anything any more.
  void End() {
    supervisor_.OnRequest({.at = clock_.Now()});
    const Instant bound = After(std::max(supervisor_.lifecycle().plan().end, clock_.Now()), 1s);
    while (supervisor_.next_instant() != kNever) {
      if (supervisor_.next_instant() > bound) std::abort();
      clock_.AdvanceTo(supervisor_.next_instant());
      supervisor_.OnTick();
    }
    if (observer_.receipts().size() != 1) std::abort();
    const Receipt& receipt = observer_.receipts()[0];
    // As it goes to admins, and into its file.
    ExpectSafe(receipt.ToJson());
    ExpectSafe(receipt.Outcome());
    v1::Receipt received;
    if (!received.ParseFromString(ToProto(receipt).SerializeAsString())) std::abort();
  }

 private:
  // Whatever it says of itself, it is lines of safe text.
  static void ExpectSafe(const std::string& text) {
    if (SafeLines(text) != text) std::abort();
  }

  static ProcessSpec Spec(const std::string& name, FakeProcess& process) {
    return {name, RestartPolicy::kAlways, {name + " server"}, [&process](uint32_t number) {
              return process.Make(number);
            }};
  }

  void Wait(Duration length) {
    const Instant until = clock_.Now() + length;
    while (supervisor_.next_instant() <= until) {
      clock_.AdvanceTo(supervisor_.next_instant());
      supervisor_.OnTick();
    }
    clock_.AdvanceTo(until);
  }

  // Through a real channel; `raw`: also the byte that says where the message is.
  void Say(std::string_view bytes, bool raw) {
    std::string packet = (raw ? "" : "i") + std::string(bytes);
    if (packet.empty()) return;
    if (send(ends_.second.fd(), packet.data(), packet.size(), MSG_DONTWAIT) < 0) return;
    host::v1::FromHost message;
    if (ends_.first.TryReceive(message, nullptr) != Channel::Received::kYes) return;
    Tell(message, clock_.Now(), talks_.events());
  }

  void Hear(std::string_view bytes, uint32_t number) {
    host::v1::FromHost message;
    if (!message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return;
    Tell(message, clock_.Now(), talks_.events(number));
    (void)ServersIn(message.report());
  }

  std::pair<Channel, Channel> ends_ = std::move(*Channel::Pair());
  FakeClock clock_;
  FakeProcess talks_, silent_;
  RecordingObserver observer_;
  Supervisor supervisor_;
};

}  // namespace
}  // namespace lastcall

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  lastcall::Packets packets(data, size);
  lastcall::Scene scene;
  for (lastcall::Packets::Packet packet; packets.Next(packet);) scene.Do(packet);
  scene.End();
  return 0;
}
