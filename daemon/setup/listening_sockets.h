// The listening sockets of the servers: bound once, kept across reloads, or passed by systemd.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "daemon/config/config.h"
#include "daemon/setup/name_lookup.h"

#include <lastcall/net/listener.h>
#include <lastcall/systemd/listen_fds.h>

namespace lastcall {

// A socket with the address that it was written as. One address may have several: systemd passes as
// many as it wants to, and where "127.0.0.1:P" became "0.0.0.0:P" the narrower one is kept.
struct Bound {
  std::string text;
  std::shared_ptr<const Listener> listener;
  std::string before = {};  // what it was written as until now, where that was something else
};
using Sockets = std::map<std::string, std::vector<Bound>>;  // by server

// Each once.
std::set<std::shared_ptr<const Listener>> AllOf(const Sockets& sockets);

class SocketBinder {
 public:
  // `passed`: by systemd, to this process.
  explicit SocketBinder(ActivationSockets passed) : passed_(std::move(passed)) {}

  // A socket for each address of the configuration. What is bound already, in `current`, is taken
  // over: an address may move to another server, be written otherwise, or have another mode or group
  // (see SetRights). One that becomes wider gets another socket beside its own. Blocks: for host
  // names, as Listener::Bind. Does not block for those that are in `names`.
  // Fails: as Listener::Bind and ActivationSockets::Named, with the server's name; where an address
  // becomes narrower, whose clients wait in the one queue.
  Result<Sockets> Bind(const Config& config, const Sockets& current, const HostNames& names = {});
  // Whether Bind would succeed now, as far as can be known without asking for names.
  Result<> Probe(const Config& config, const Sockets& current);
  // The host names that Bind would have to look up.
  static std::set<std::string> Unknown(const Config& config, const Sockets& current);

  const ActivationSockets& passed() const { return passed_; }
  // A message for each that no server listens on.
  std::vector<std::string> UnusedWarnings() const;

 private:
  Result<std::vector<Bound>> BindOne(const Address& address, const HostNames& names,
                                     const std::vector<Bound>& narrower);

  ActivationSockets passed_;
};

// Gives the paths whose mode or group may be another now those of the configuration: the new one to
// `now`, or the one before, to what did not become of it. Fails: as Listener::SetRights, with the
// server's name; then those of other servers were tried all the same.
Result<> SetRights(const Config& config, const Sockets& now);
Result<> RestoreRights(const Config& before, const Sockets& now);

}  // namespace lastcall
