// What a server lets its peers take.
#pragma once

#include <cstdint>

#include <lastcall/base/clock.h>

namespace lastcall {

// Zero: gRPC's default, which is often no limit at all.
struct ServerLimits {
  uint32_t connections = 10000;  // more wait in the kernel's queue
  uint32_t streams = 100;        // concurrent calls of one connection
  uint64_t message = 4 << 20;    // bytes of one message received
  uint64_t metadata = 16 << 10;  // bytes of the headers of one call, as HTTP/2 counts them
  uint64_t memory = 0;           // bytes in gRPC's buffers from which on it ends calls, anybody's
  uint32_t threads = 1000;  // of synchronous handlers, at work at once; calls beyond are refused
  Duration keepalive = std::chrono::seconds(60);  // silence after which a client is pinged
  Duration keepalive_timeout = std::chrono::seconds(10);
  Duration handshake = std::chrono::seconds(10);

  friend bool operator==(const ServerLimits&, const ServerLimits&) = default;
};

}  // namespace lastcall
