// The listening sockets of the servers: bound once, kept across reloads, or passed by systemd.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "daemon/config.h"
#include "daemon/name_lookup.h"

#include <lastcall/rpc/listener.h>
#include <lastcall/systemd/listen_fds.h>

namespace lastcall {

// A socket with the address that it was written as.
struct Bound {
  std::string text;
  std::shared_ptr<const Listener> listener;
};
using Sockets = std::map<std::string, std::vector<Bound>>;  // by server

class SocketBinder {
 public:
  // `passed`: by systemd, to this process.
  explicit SocketBinder(ActivationSockets passed) : passed_(std::move(passed)) {}

  // A socket for each address of the configuration. What is bound already, in `current`, is taken
  // over: an address may move to another server. Blocks: for host names, as Listener::Bind.
  // Does not block for those that are in `names`.
  // Fails: as Listener::Bind and ActivationSockets::Named, with the server's name.
  Result<Sockets> Bind(const Config& config, const Sockets& current, const HostNames& names = {});
  // The host names that Bind would have to look up.
  static std::set<std::string> Unknown(const Config& config, const Sockets& current);

  const ActivationSockets& passed() const { return passed_; }

 private:
  Result<std::vector<Bound>> BindOne(const Address& address, const HostNames& names);

  ActivationSockets passed_;
};

}  // namespace lastcall
