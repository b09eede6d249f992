// The addresses of host names, and what is said where they are not known.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include <lastcall/base/result.h>

namespace lastcall {

// The addresses of hosts, or why there are none. See LookUpHost.
using HostNames = std::map<std::string, Result<std::vector<std::string>>>;

// Blocks: as long as a name service takes, which cannot be told to stop. Threads: any.
HostNames LookUp(const std::set<std::string>& hosts);

// Of those for whom nobody waits any more.
HostNames NotLookedUp(const std::set<std::string>& hosts, const std::string& why);

}  // namespace lastcall
