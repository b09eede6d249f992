// GOAWAY without a shutdown: gRPC 1.51 can send it and says so nowhere in its public headers. The one
// place that reaches below them.
#pragma once

#include <functional>

namespace grpc {
class Server;
}

namespace lastcall {

// Sends every connection of the server a GOAWAY in two steps (the second answers the client's
// acknowledgement of the first), after which clients take their next calls elsewhere; everything on
// its way is still served. Again for connections that were in handshake. Threads: any, also none of
// gRPC's. Does not block.
// Empty: the gRPC in this process does not export what it takes.
std::function<void(grpc::Server&)> FindGoaway();

}  // namespace lastcall
