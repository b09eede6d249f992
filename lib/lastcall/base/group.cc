#include "lastcall/base/group.h"

#include <grp.h>

#include <cerrno>
#include <vector>

namespace lastcall {

std::optional<gid_t> GroupNamed(const std::string& name) {
  std::vector<char> buffer(4096);
  group entry{};
  group* found = nullptr;
  while (getgrnam_r(name.c_str(), &entry, buffer.data(), buffer.size(), &found) == ERANGE) {
    buffer.resize(buffer.size() * 2);  // a group with many members
  }
  return found == nullptr ? std::nullopt : std::optional(found->gr_gid);
}

}  // namespace lastcall
