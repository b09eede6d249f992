#include "daemon/admin/roles.h"

#include <algorithm>

namespace lastcall {
namespace {

const Roles::Group* FirstOf(const std::vector<Roles::Group>& groups, const Peer& peer) {
  for (const Roles::Group& group : groups) {
    if (group.gid &&
        std::find(peer.groups.begin(), peer.groups.end(), *group.gid) != peer.groups.end()) {
      return &group;
    }
  }
  return nullptr;
}

// "lastcall-admin", "lastcall-admin or wheel"; those that do not exist are marked.
std::string Listed(const std::vector<Roles::Group>& groups) {
  std::string text;
  for (const Roles::Group& group : groups) {
    text += (text.empty() ? "" : " or ") + group.name + (group.gid ? "" : " (not on this machine)");
  }
  return text;
}

// What whoever runs this machine has to do. `user` is empty where there is no such name, and
// usermod could do nothing.
std::string Remedy(const std::vector<Roles::Group>& groups, const std::string& user) {
  if (groups.empty()) return "";
  const auto there = std::find_if(groups.begin(), groups.end(),
                                  [](const Roles::Group& group) { return group.gid.has_value(); });
  const Roles::Group& group = there == groups.end() ? groups.front() : *there;
  if (user.empty()) {
    return ", or start it with the group " + group.name +
           (group.gid ? ""
                      : ", once \"groupadd --system " + group.name +
                            "\" and a \"lastcallctl reload\" have made it known") +
           ": a user without an entry in passwd has the groups that it is started with "
           "(SupplementaryGroups= of its unit, --group-add of its container)";
  }
  const std::string create = group.gid ? "" : "groupadd --system " + group.name + " && ";
  return ", or ask for \"" + create + "usermod -aG " + group.name + " " + user +
         "\" and log in again" +
         (group.gid ? "" : ", after a \"lastcallctl reload\" that finds the group");
}

}  // namespace

std::string_view Name(Role role) {
  switch (role) {
    case Role::kStranger: return "stranger";
    case Role::kObserver: return "observer";
    case Role::kOperator: return "operator";
  }
  return "stranger";
}

Standing Roles::Of(const Peer& peer) const {
  if (peer.uid == 0) return {Role::kOperator, true, "root"};
  if (peer.uid == own_) return {Role::kOperator, true, "the daemon's user"};
  if (const Group* group = FirstOf(operators_, peer)) return {Role::kOperator, false, group->name};
  if (const Group* group = FirstOf(observers_, peer)) return {Role::kObserver, false, group->name};
  return {};
}

std::string Roles::Denial(uid_t uid, const std::string& user, Role role,
                          std::string_view verb) const {
  const std::string number = "uid " + std::to_string(uid);
  const std::string who = user.empty() ? number : user + " (" + number + ")";
  const std::string changers = operators_.empty()
                                   ? "only root and the daemon's user may change anything"
                                   : "changes need the group " + Listed(operators_);
  if (role == Role::kObserver) {
    return "permission denied: " + who + " may look, but not " + std::string(verb) + ": " +
           changers + "; use sudo" + Remedy(operators_, user);
  }
  const std::string lookers =
      observers_.empty() ? "" : "looking needs the group " + Listed(observers_) + ", ";
  return "permission denied: " + who + " is in no group that may speak to lastcalld: " + lookers +
         changers + "; use sudo" + Remedy(observers_.empty() ? operators_ : observers_, user);
}

}  // namespace lastcall
