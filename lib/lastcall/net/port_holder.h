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

// A connection that has that port at its end here, for where nobody listens on it: "of curl (pid 812)
// from 10.0.0.2:50051 to 192.0.2.7:443"; empty when there is none. Blocks: reads /proc.
std::string ConnectionOfPort(uint16_t port);

// Whether the kernel may give that port to an outgoing connection. Blocks: reads /proc.
bool IsEphemeral(uint16_t port);

}  // namespace lastcall
