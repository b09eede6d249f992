#include "daemon/listening_sockets.h"

#include <iterator>
#include <set>
#include <utility>

namespace lastcall {
namespace {

// Of the same server, or of one that drops it. Two servers may both have a port of their own by
// "127.0.0.1:0"; one whose server keeps it is not taken by another.
std::shared_ptr<const Listener> BoundAlready(const Sockets& current, const std::string& text,
                                             const std::string& server,
                                             std::set<const Listener*>& taken) {
  const auto of = [&](const std::vector<Bound>& all) -> std::shared_ptr<const Listener> {
    for (const Bound& one : all) {
      if (one.text == text && taken.insert(one.listener.get()).second) return one.listener;
    }
    return nullptr;
  };
  const auto own = current.find(server);
  if (own != current.end()) {
    if (auto listener = of(own->second)) return listener;
  }
  if (text.ends_with(":0")) return nullptr;
  for (const auto& [name, all] : current) {
    if (auto listener = of(all)) return listener;
  }
  return nullptr;
}

}  // namespace

Result<Sockets> SocketBinder::Bind(const Config& config, const Sockets& current) {
  std::set<const Listener*> taken;
  Sockets sockets;
  for (const ServerConfig& server : config.servers) {
    auto& bound = sockets[server.name];
    for (const Address& address : server.listen) {
      // What systemd passed stays with it, and is copied again.
      if (address.kind != Address::Kind::kSystemd) {
        if (auto listener = BoundAlready(current, address.text, server.name, taken)) {
          bound.push_back({address.text, std::move(listener)});
          continue;
        }
      }
      auto made = BindOne(address);
      if (!made) {
        return Fail(made.error().code, "server " + server.name + ": " + made.error().message);
      }
      std::move(made->begin(), made->end(), std::back_inserter(bound));
    }
  }
  return sockets;
}

Result<std::vector<Bound>> SocketBinder::BindOne(const Address& address) {
  std::vector<Bound> bound;
  const auto add = [&](Listener listener) {
    bound.push_back({address.text, std::make_shared<const Listener>(std::move(listener))});
  };
  if (address.kind == Address::Kind::kSystemd) {
    auto sockets = passed_.Named(address.path);
    if (!sockets) {
      return Fail(sockets.error().code, address.text + ": " + sockets.error().message);
    }
    for (UniqueFd& socket : *sockets) add(Listener(std::move(socket)));
    return bound;
  }
  auto listener = Listener::Bind(address);
  if (!listener) return tl::unexpected(listener.error());
  add(std::move(*listener));
  return bound;
}

}  // namespace lastcall
