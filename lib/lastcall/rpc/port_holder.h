// Who holds an address that is in use: what the kernel lets us see of it.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>

namespace lastcall {

// "nginx (pid 812)"; "pid 812" when it has no name that we may read.
std::string DescribeProcess(pid_t pid);

// The processes that listen on a TCP port of this network namespace, as above, joined by commas;
// empty when nobody does or when we may not look. Blocks: reads /proc.
std::string HolderOfPort(uint16_t port);

}  // namespace lastcall
