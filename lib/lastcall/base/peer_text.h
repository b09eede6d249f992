// How the other end of a connection is written: as people write it, and as `listen` does.
#pragma once

#include <string>
#include <string_view>

namespace lastcall {

// Of gRPC's URI: "ipv6:%5B::1%5D:34886" is "[::1]:34886", "ipv4:127.0.0.1:4711" is "127.0.0.1:4711".
// Anything else, "unix:/run/x.sock" for one, is as it was. Not made safe.
std::string PeerText(std::string_view uri);

}  // namespace lastcall
