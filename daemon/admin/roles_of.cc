#include "daemon/admin/roles_of.h"

#include <unistd.h>

#include <lastcall/base/group.h>

#include "daemon/config/problems.h"

namespace lastcall {
namespace {

std::vector<Roles::Group> Resolve(const std::vector<std::string>& names) {
  std::vector<Roles::Group> groups;
  for (const std::string& name : names) groups.push_back({name, GroupNamed(name)});
  return groups;
}

void AddWarnings(const Config& config, const std::string& key,
                 const std::vector<std::string>& groups, std::vector<std::string>& warnings) {
  const auto origin = config.origins.find(key);
  if (origin == config.origins.end()) return;  // no one requested the defaults
  for (const std::string& name : groups) {
    if (GroupNamed(name)) continue;
    warnings.push_back(Format(origin->second) + ": " + key + ": there is no group \"" + name +
                       "\" on this machine, so no one is let in by it; correct the name, or run "
                       "\"groupadd --system " +
                       name + "\" and reload");
  }
}

}  // namespace

Roles RolesOf(const Config& config) {
  return Roles(Resolve(config.operators), Resolve(config.observers), geteuid());
}

std::vector<std::string> GroupWarnings(const Config& config) {
  std::vector<std::string> warnings;
  AddWarnings(config, "admin.operators", config.operators, warnings);
  AddWarnings(config, "admin.observers", config.observers, warnings);
  return warnings;
}

}  // namespace lastcall
