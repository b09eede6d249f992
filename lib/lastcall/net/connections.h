// The connections that a server was given. gRPC owns their sockets and does not say when it closes
// one, so each is remembered as descriptor number and socket cookie, and looked at when asked.
#pragma once

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <unordered_map>

#include <lastcall/base/clock.h>
#include <lastcall/base/unique_fd.h>

namespace lastcall {

// Threads: any.
class Connections {
 public:
  Connections();
  // Before the descriptor is handed over.
  void Add(int fd);
  // Whether the descriptor is one of them. For its owner, who is about to close it.
  bool Has(int fd) const;
  // The same, and from here on it is none of them.
  bool Forget(int fd);
  // Those that were added and not forgotten.
  size_t known() const;
  // The living ones; forgets those that are gone. Cost: three system calls each.
  size_t Count();
  // Whether there are fewer than `limit`; counts only when it has to.
  bool HasRoom(size_t limit);
  // When the youngest was added; the beginning of time: none was.
  Instant last_added() const;
  // The longest round trip that the kernel measured on one that lives; zero: none did.
  Duration LongestRoundTrip();
  // What the kernel holds of one, or of all living ones, in bytes: what gRPC has not read, and what their peers
  // have not taken (over TCP their kernels, over unix sockets themselves).
  static uint64_t Unread(int fd);
  uint64_t Unread();
  uint64_t Untaken();
  // Shuts every living one down in both directions: their clients see a closed connection.
  void Sever();

 private:
  template <class F>
  void ForEachLiving(F action);

  // Where duplicates are made, so that no descriptor need be free for one.
  std::mutex scratch_mutex_;
  const UniqueFd nothing_;
  const UniqueFd scratch_;

  mutable std::mutex mutex_;
  std::unordered_map<int, uint64_t> cookies_;  // by descriptor number
  Instant last_added_{};
};

}  // namespace lastcall
