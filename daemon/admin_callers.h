// Who is connected to the admin socket: how many of whom, and which of them makes a call.
#pragma once

#include <sys/types.h>

#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "daemon/roles.h"

#include <lastcall/base/clock.h>
#include <lastcall/base/log.h>
#include <lastcall/lifecycle/cause.h>
#include <lastcall/rpc/connections.h>

namespace lastcall {

struct Caller {
  pid_t pid = 0;
  uid_t uid = 0;
  Role role = Role::kStranger;
  bool owner = false;  // as Standing, and the next
  std::string by;
};

// "lastcallctl (pid 812, alice, uid 1000, operator by the group lastcall-admin)". Blocks: as
// UserText.
std::string Describe(const Caller& caller);
// For log and receipt.
Cause CauseOf(const Caller& caller, const std::string& reason);

// Threads: any.
class AdminCallers {
 public:
  // At once: of one user, and of all strangers together, so that none of them locks out the others.
  // Strangers hear why not and go; lastcallctl holds one connection; root and the daemon's user may
  // run a lot of scripts.
  static constexpr size_t kOfOwner = 128;
  static constexpr size_t kOfUser = 32;
  static constexpr size_t kOfStranger = 8;
  static constexpr size_t kOfStrangers = 64;

  AdminCallers(Roles roles, const Clock& clock, Log log);

  struct Admitted {
    std::string name;  // for Server::Take
    Role role = Role::kStranger;
  };
  // Looks at a connection that was just accepted. Empty: it is one too many, or nobody knows whose.
  std::optional<Admitted> Admit(int fd);

  // Who makes a call, by its peer(). Empty: nobody whom Admit named.
  std::optional<Caller> Identify(std::string_view peer) const;

  // Of connections from now on.
  void SetRoles(Roles roles);
  std::string Denial(const Caller& caller, std::string_view verb) const;

 private:
  bool HasRoom(const Peer& peer, const Standing& standing);
  void Crowded(uid_t uid, const std::string& what);

  // Names cannot be guessed: where gRPC shows what a client calls itself, it is not believed.
  const std::string secret_;
  const Clock& clock_;
  const Log log_;
  mutable std::mutex mutex_;
  Roles roles_;
  std::map<uid_t, Connections> of_user_;
  Connections of_strangers_;
  std::map<uid_t, Instant> crowded_;  // when the log last spoke of it
};

}  // namespace lastcall
