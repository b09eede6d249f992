#include "daemon/listening_sockets.h"

#include <iterator>
#include <set>
#include <utility>

#include <lastcall/rpc/host_lookup.h>

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

// The first that this machine has, as Listener::Bind.
Result<Listener> BindByName(const Address& address, const HostNames& names) {
  const auto known = names.find(address.host);
  if (address.kind != Address::Kind::kTcp || known == names.end()) return Listener::Bind(address);
  const auto& hosts = known->second;
  if (!hosts) {
    return Fail(hosts.error().code,
                "cannot listen on " + address.text + ": " + hosts.error().message);
  }
  Address one = address;
  for (const std::string& host : *hosts) {
    one.host = host;
    auto listener = Listener::Bind(one);
    if (listener || listener.error().code != Code::kInvalidArgument || host == hosts->back()) {
      return listener;
    }
  }
  return Listener::Bind(address);  // there is always one
}

}  // namespace

std::set<std::string> SocketBinder::Unknown(const Config& config, const Sockets& current) {
  std::set<const Listener*> taken;
  std::set<std::string> hosts;
  for (const ServerConfig& server : config.servers) {
    for (const Address& address : server.listen) {
      if (address.kind != Address::Kind::kTcp ||
          BoundAlready(current, address.text, server.name, taken)) {
        continue;
      }
      if (NeedsLookUp(address.host)) hosts.insert(address.host);
    }
  }
  return hosts;
}

Result<Sockets> SocketBinder::Bind(const Config& config, const Sockets& current,
                                   const HostNames& names) {
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
      auto made = BindOne(address, names);
      if (!made) {
        return Fail(made.error().code, "server " + server.name + ": " + made.error().message);
      }
      std::move(made->begin(), made->end(), std::back_inserter(bound));
    }
  }
  return sockets;
}

Result<std::vector<Bound>> SocketBinder::BindOne(const Address& address,
                                                 const HostNames& names) {
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
  auto listener = BindByName(address, names);
  if (!listener) return tl::unexpected(listener.error());
  add(std::move(*listener));
  return bound;
}

}  // namespace lastcall
