// What gRPC itself counts of a server: a stream from the first bytes of its headers on, long before
// anybody else hears of a call. By channelz, which is public C API and on by default.
#pragma once

#include <cstddef>
#include <cstdint>
#include <set>

namespace lastcall {

class Channelz {
 public:
  using Servers = std::set<intptr_t>;
  // The servers of this process.
  static Servers All();

  // Of the servers that have been made since: the one that is meant, and rarely another that was made
  // meanwhile.
  explicit Channelz(const Servers& before);

  // False: gRPC counts nothing.
  bool known() const { return !servers_.empty(); }

  struct Count {
    size_t connections = 0;  // handshakes are over
    int64_t streams = 0;     // not over
  };
  // Cost: some microseconds for each connection.
  Count Look() const;

  // Connections are numbered as they are made. The last number, and how many of those after one have
  // had a stream.
  intptr_t Newest() const;
  size_t BegunSince(intptr_t number) const;

 private:
  Servers servers_;
};

}  // namespace lastcall
