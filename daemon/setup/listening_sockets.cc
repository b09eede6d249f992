#include "daemon/setup/listening_sockets.h"

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <map>
#include <set>
#include <string_view>
#include <unordered_map>
#include <utility>

#include <lastcall/net/host_lookup.h>

namespace lastcall {
namespace {

// That somebody has to be asked for.
bool HasName(const Address& address) {
  return address.kind == Address::Kind::kTcp && NeedsLookUp(address.host);
}

// Where clients find it, without the host: sockets in different places are apart. Empty: nowhere that
// could be written.
std::string PlaceOf(const Listener& listener) {
  if (!listener.path().name.empty()) return listener.path().name;
  const std::string& text = listener.address();
  return text.substr(text.rfind(':') + 1);
}

std::string PlaceOf(const Address& address) {
  if (address.kind == Address::Kind::kUnix) return address.path;
  return address.kind == Address::Kind::kTcp && address.port != 0 ? std::to_string(address.port)
                                                                  : "";
}

// What is bound already, as it is given away. Found by what it is called: there may be thousands.
class Holdings {
 public:
  explicit Holdings(const Sockets& current) {
    for (const auto& [server, all] : current) {
      for (const Bound& one : all) {
        written_[one.text].push_back({&server, &one});
        places_[PlaceOf(*one.listener)].push_back({&server, &one});
      }
    }
  }

  // Those of an address that was written so before: of the same server, or of one that drops it. Two
  // servers may both have a port of their own by "127.0.0.1:0"; one whose server keeps it is not
  // taken by another.
  std::vector<Bound> Written(const std::string& text, const std::string& server) {
    const auto found = written_.find(text);
    if (found == written_.end()) return {};
    const bool any_port = text.ends_with(":0");
    const auto of = [](const std::string& name) {
      return [&name](const Held& one) { return *one.server == name; };
    };
    auto bound = Take(found->second, of(server), any_port ? 1 : kAll);
    if (!bound.empty() || any_port) return bound;
    const auto first =
        std::find_if(found->second.begin(), found->second.end(),
                     [&](const Held& one) { return !taken_.contains(one.bound->listener.get()); });
    if (first == found->second.end()) return {};
    return Take(found->second, of(*first->server));
  }
  // Those whose clients are as `reach` says to the clients of the address.
  std::vector<Bound> Reaching(const Address& address, Listener::Reach reach) {
    const auto found = places_.find(PlaceOf(address));
    if (found == places_.end()) return {};
    return Take(found->second,
                [&](const Held& one) { return one.bound->listener->ReachOf(address) == reach; });
  }

 private:
  static constexpr size_t kAll = SIZE_MAX;
  struct Held {
    const std::string* server;
    const Bound* bound;
  };
  using ByName = std::unordered_map<std::string, std::vector<Held>>;

  template <class Wanted>
  std::vector<Bound> Take(const std::vector<Held>& all, Wanted wanted, size_t most = kAll) {
    std::vector<Bound> bound;
    for (const Held& one : all) {
      if (bound.size() == most) break;
      const Listener* const listener = one.bound->listener.get();
      if (taken_.contains(listener) || !wanted(one)) continue;
      taken_.insert(listener);
      bound.push_back(*one.bound);
    }
    return bound;
  }

  ByName written_, places_;  // in the order of the servers' names
  std::set<const Listener*> taken_;
};

using Places = std::map<const Address*, std::vector<Bound>>;  // of the configuration's addresses

// What is taken over as it is. First what is written as before, so that nothing else takes it.
Places TakeOver(const Config& config, Holdings& holdings) {
  Places places;
  const auto for_each = [&](auto action) {
    for (const ServerConfig& server : config.servers) {
      for (const Address& address : server.listen) {
        // What systemd passed stays with it, and is copied again.
        if (address.kind != Address::Kind::kSystemd && places[&address].empty()) {
          action(server, address);
        }
      }
    }
  };
  for_each([&](const ServerConfig& server, const Address& address) {
    for (Bound& one : holdings.Written(address.text, server.name)) {
      places[&address].push_back({address.text, std::move(one.listener)});
    }
  });
  for_each([&](const ServerConfig&, const Address& address) {
    if (HasName(address)) return;
    for (Bound& one : holdings.Reaching(address, Listener::Reach::kSame)) {
      places[&address].push_back({address.text, std::move(one.listener), one.text});
    }
  });
  return places;
}

// What a wider address stands beside. Fails: a part of its clients would be taken from another.
Result<std::vector<Bound>> Narrower(const Address& address, Holdings& holdings) {
  if (HasName(address)) return std::vector<Bound>();
  const auto others = holdings.Reaching(address, Listener::Reach::kOther);
  if (!others.empty()) {
    const std::string held = others.front().listener->address();
    return Fail(Code::kFailedPrecondition,
                "cannot listen on " + address.text + ": this daemon listens on " +
                    others.front().text + " (" + held +
                    "), and a part of its clients cannot be taken over without losing calls; leave "
                    "the address out for one reload and write it for the next, restart the daemon, "
                    "or choose another port");
  }
  return holdings.Reaching(address, Listener::Reach::kWider);
}

std::vector<const Listener*> ListenersOf(const std::vector<Bound>& all) {
  std::vector<const Listener*> listeners;
  for (const Bound& one : all) listeners.push_back(one.listener.get());
  return listeners;
}

Result<> ProbeOne(const Address& address, const std::vector<Bound>& here, Holdings& holdings) {
  if (!here.empty()) {
    const bool rewritten = address.kind == Address::Kind::kUnix && !here.front().before.empty();
    return rewritten ? Listener::ProbeRights(address) : Result<>();
  }
  if (HasName(address)) return {};
  const auto narrower = Narrower(address, holdings);
  if (!narrower) return tl::unexpected(narrower.error());
  return Listener::Probe(address, ListenersOf(*narrower));
}

// Of each server, its addresses with a socket that was written otherwise before.
template <class F>
Result<> ForEachRewritten(const Config& config, const Sockets& sockets, std::string Bound::*text,
                          F action) {
  std::unordered_map<std::string_view, std::vector<const Address*>> addresses;
  for (const ServerConfig& server : config.servers) {
    for (const Address& address : server.listen) {
      if (address.kind == Address::Kind::kUnix) addresses[address.text].push_back(&address);
    }
  }
  Result<> result;
  for (const auto& [name, all] : sockets) {
    for (const Bound& bound : all) {
      if (bound.before.empty()) continue;
      const auto found = addresses.find(bound.*text);
      if (found == addresses.end()) continue;
      for (const Address* const address : found->second) {
        auto done = action(*bound.listener, *address);
        if (!done && result) {
          result = Fail(done.error().code, "server " + name + ": " + done.error().message);
        }
      }
    }
  }
  return result;
}

// The first that this machine has, as Listener::Bind.
Result<Listener> BindByName(const Address& address, const HostNames& names,
                            const std::vector<const Listener*>& narrower) {
  const auto known = names.find(address.host);
  if (address.kind != Address::Kind::kTcp || known == names.end()) {
    return Listener::Bind(address, narrower);
  }
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

std::set<std::shared_ptr<const Listener>> AllOf(const Sockets& sockets) {
  std::set<std::shared_ptr<const Listener>> listeners;
  for (const auto& [server, all] : sockets) {
    for (const Bound& bound : all) listeners.insert(bound.listener);
  }
  return listeners;
}

std::set<std::string> SocketBinder::Unknown(const Config& config, const Sockets& current) {
  Holdings holdings(current);
  Places places = TakeOver(config, holdings);
  std::set<std::string> hosts;
  for (const ServerConfig& server : config.servers) {
    for (const Address& address : server.listen) {
      if (HasName(address) && places[&address].empty()) hosts.insert(address.host);
    }
  }
  return hosts;
}

Result<Sockets> SocketBinder::Bind(const Config& config, const Sockets& current,
                                   const HostNames& names) {
  Holdings holdings(current);
  Places places = TakeOver(config, holdings);
  Sockets sockets;
  for (const ServerConfig& server : config.servers) {
    auto& bound = sockets[server.name];
    for (const Address& address : server.listen) {
      auto& here = places[&address];
      if (here.empty()) {
        const auto narrower = Narrower(address, holdings);
        auto made = narrower ? BindOne(address, names, *narrower)
                             : Result<std::vector<Bound>>(tl::unexpected(narrower.error()));
        if (!made) {
          return Fail(made.error().code, "server " + server.name + ": " + made.error().message);
        }
        here = std::move(*made);
      }
      std::move(here.begin(), here.end(), std::back_inserter(bound));
    }
  }
  return sockets;
}

Result<> SocketBinder::Probe(const Config& config, const Sockets& current) {
  Holdings holdings(current);
  Places places = TakeOver(config, holdings);
  for (const ServerConfig& server : config.servers) {
    for (const Address& address : server.listen) {
      if (const auto fine = ProbeOne(address, places[&address], holdings); !fine) {
        return Fail(fine.error().code, "server " + server.name + ": " + fine.error().message);
      }
    }
  }
  return {};
}

Result<std::vector<Bound>> SocketBinder::BindOne(const Address& address, const HostNames& names,
                                                 const std::vector<Bound>& narrower) {
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
  auto listener = BindByName(address, names, ListenersOf(narrower));
  if (!listener) return tl::unexpected(listener.error());
  add(std::move(*listener));
  for (const Bound& one : narrower) bound.push_back({address.text, one.listener});
  return bound;
}

Result<> SetRights(const Config& config, const Sockets& now) {
  return ForEachRewritten(
      config, now, &Bound::text,
      [](const Listener& listener, const Address& address) { return listener.SetRights(address); });
}

Result<> RestoreRights(const Config& before, const Sockets& now) {
  return ForEachRewritten(
      before, now, &Bound::before,
      [](const Listener& listener, const Address& address) { return listener.SetRights(address); });
}

std::vector<std::string> SocketBinder::UnusedWarnings() const {
  std::vector<std::string> warnings;
  for (const std::string& name : passed_.Unused()) {
    warnings.push_back("systemd passed socket \"" + name +
                       "\", which no server listens on; write listen = [\"systemd:" + name + "\"]");
  }
  return warnings;
}

}  // namespace lastcall
