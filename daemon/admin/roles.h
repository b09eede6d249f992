// What a caller of the admin socket may do. Decided by what the kernel says of it, never by its
// word.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <lastcall/net/peer_credentials.h>

namespace lastcall {

enum class Role {
  kStranger,  // may hear why not
  kObserver,  // may look
  kOperator,  // may change
};

std::string_view Name(Role role);

struct Standing {
  Role role = Role::kStranger;
  bool owner = false;  // root, or the daemon's own user
  std::string by;      // "root", "the daemon's user", or the name of a group; empty for strangers
};

// [admin] operators and observers, with the groups' numbers as they were when it was read.
class Roles {
 public:
  struct Group {
    std::string name;
    std::optional<gid_t> gid;  // empty: there is no such group, and so nobody is in it
  };

  Roles(std::vector<Group> operators, std::vector<Group> observers, uid_t own)
      : operators_(std::move(operators)), observers_(std::move(observers)), own_(own) {}

  const std::vector<Group>& operators() const { return operators_; }
  const std::vector<Group>& observers() const { return observers_; }

  // `peer` with all its groups.
  Standing Of(const Peer& peer) const;
  // Root and the daemon's own user, who need no group.
  bool IsOwner(uid_t uid) const { return uid == 0 || uid == own_; }
  // Why this one, who has that role, may not do it, and how they could. `name`: the user's, where
  // it is known.
  std::string Denial(uid_t uid, const std::string& name, Role role, std::string_view verb) const;

 private:
  std::vector<Group> operators_;
  std::vector<Group> observers_;
  uid_t own_;
};

}  // namespace lastcall
