// What gRPC has to say goes through our own log, and strangers cannot fill it: gRPC has a line for
// every connection that is reset, and for every bad handshake.
#pragma once

#include <lastcall/base/log.h>

namespace lastcall {

// For our own programs alone: it is the whole process's. At most one at a time. Of each place in
// gRPC's sources 10 lines in 10 s are said; the rest is counted, and that is said with what comes
// next, or at the end.
class GrpcLog {
 public:
  // `log` must not block: gRPC calls it under locks of its own.
  explicit GrpcLog(Log log);
  // gRPC is silent from here on: its threads may outlive this, and the log.
  ~GrpcLog();
  GrpcLog(const GrpcLog&) = delete;
  GrpcLog& operator=(const GrpcLog&) = delete;
};

}  // namespace lastcall
