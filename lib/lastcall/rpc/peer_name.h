// Names for connections, so that a call can be told from the calls of other connections.
//
// A handler gets nothing of its connection but peer(), and that is what getpeername(2) says when
// gRPC is given the connection: for a unix socket "unix:", or whatever name the client gave its
// end. So this file defines getpeername: a program's own definition comes before the C library's.
// It does what it always does, but while a PeerName lives in the same thread it says that name
// instead.
#pragma once

#include <string>

namespace lastcall {

class PeerName {
 public:
  // Whether gRPC's calls do come by here. Otherwise peer() is the client's own word: do not believe
  // it.
  static bool Works();

  // `name`: letters, digits and - . _ / only, so that peer() is "unix:" + name; at most
  // kMaxUnixPath.
  explicit PeerName(const std::string& name);
  PeerName(const PeerName&) = delete;
  PeerName& operator=(const PeerName&) = delete;
  ~PeerName();
};

}  // namespace lastcall
