// Who is connected to the admin socket: how many of whom, and which of them makes a call.
#pragma once

#include <sys/types.h>

#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "daemon/admin/roles.h"
#include "daemon/admin/user_names.h"

#include <lastcall/base/clock.h>
#include <lastcall/base/log.h>
#include <lastcall/base/token_bucket.h>
#include <lastcall/lifecycle/cause.h>
#include <lastcall/net/connections.h>

namespace lastcall {

struct Caller {
  pid_t pid = 0;
  uid_t uid = 0;
  Role role = Role::kStranger;
  bool owner = false;  // as Standing, and the next
  std::string by;
};

// "lastcallctl (pid 812, alice, uid 1000, operator by the group lastcall-admin)". `user`: the name,
// where it is known.
std::string Describe(const Caller& caller, const std::string& user);
// For log and receipt.
Cause CauseOf(const Caller& caller, const std::string& reason);

// Whoever connects in a loop must not keep the others waiting behind him in the socket's queue. So
// what is beyond his measure costs an accept, one question to the kernel, and a close; and nothing
// here waits for a name service.
//
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
  // New ones: of one user, whatever the role, and of all strangers together. Each costs gRPC half a
  // millisecond. Root and the daemon's user have no such measure.
  static constexpr TokenBucket::Rate kPaceOfUser{64, 100};
  static constexpr TokenBucket::Rate kPaceOfStrangers{64, 200};

  AdminCallers(Roles roles, const Clock& clock, Log log,
               std::function<std::string(uid_t)> user_name = UserName);

  struct Admitted {
    std::string name;  // for Server::Take
    Role role = Role::kStranger;
  };
  // Looks at a connection that was just accepted. Empty: it is one too many, or nobody knows whose.
  // Does not block.
  std::optional<Admitted> Admit(int fd);

  // Who makes a call, by its peer(). Empty: nobody whom Admit named.
  std::optional<Caller> Identify(std::string_view peer) const;

  // Of connections from now on.
  void SetRoles(Roles roles);

  // Blocks: for a moment, see UserNames.
  std::string Denial(const Caller& caller, std::string_view verb);
  std::string Describe(const Caller& caller);

 private:
  struct User {
    TokenBucket pace{kPaceOfUser};
    Connections connections;
    std::optional<Instant> told_at;  // when the log last spoke of it
  };

  // Fails: with what the log is to say; empty, where it has just said so.
  tl::expected<Standing, std::string> Look(int fd, Peer& peer);
  tl::expected<Standing, std::string> LookForRoom(int fd, const Peer& peer, Standing standing);
  User& UserOf(uid_t uid);
  tl::unexpected<std::string> Refuse(std::optional<Instant>& told_at, const std::string& what);

  // Names cannot be guessed: where gRPC shows what a client calls itself, it is not believed.
  const std::string secret_;
  const Clock& clock_;
  const Log log_;
  UserNames names_;
  mutable std::mutex mutex_;
  Roles roles_;
  std::map<uid_t, User> users_;
  size_t most_users_ = 0;  // when to look who has gone
  TokenBucket pace_of_strangers_{kPaceOfStrangers};
  Connections of_strangers_;
  std::optional<Instant> told_of_strangers_at_;
};

}  // namespace lastcall
