#include "daemon/setup/name_lookup.h"

#include <lastcall/net/host_lookup.h>

namespace lastcall {

HostNames LookUp(const std::set<std::string>& hosts) {
  HostNames names;
  for (const std::string& host : hosts) names.emplace(host, LookUpHost(host));
  return names;
}

HostNames NotLookedUp(const std::set<std::string>& hosts, const std::string& why) {
  HostNames names;
  for (const std::string& host : hosts) names.emplace(host, Fail(Code::kUnavailable, why));
  return names;
}

}  // namespace lastcall
