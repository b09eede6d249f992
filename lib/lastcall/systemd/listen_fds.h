// The listening sockets that systemd passed (sd_listen_fds(3)), by name.
#pragma once

#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <lastcall/base/result.h>
#include <lastcall/base/unique_fd.h>

namespace lastcall {

// systemd keeps copies of these sockets: they outlive this process, and what waits in their queues
// is there for the next one. Never shut them down.
class ActivationSockets {
 public:
  // Takes LISTEN_FDS and its companions out of the environment and the descriptors out of the reach
  // of children. Order: before other threads read the environment.
  ActivationSockets();
  // Those that an earlier life of this process took.
  using Sockets = std::multimap<std::string, UniqueFd>;
  explicit ActivationSockets(Sockets sockets) : sockets_(std::move(sockets)) {}

  // Copies of every socket called `name` (FileDescriptorName= of the socket unit; without it, the
  // unit's own name), non-blocking and CLOEXEC; one for each ListenStream=.
  // Fails: kNotFound (with the names there are), kInvalidArgument (one that does not listen, or not
  // for streams).
  Result<std::vector<UniqueFd>> Named(const std::string& name);
  // Names that no one requested.
  std::vector<std::string> Unused() const;
  const Sockets& all() const { return sockets_; }

 private:
  Sockets sockets_;
  std::set<std::string> used_;
};

}  // namespace lastcall
