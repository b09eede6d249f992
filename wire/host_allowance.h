// How much a host may say on its control channel. It runs the code of strangers, which can write
// there whatever it likes, as fast as it is read; and it is read in the loop that everything else
// waits for.
#pragma once

#include <cstddef>

#include <lastcall/base/token_bucket.h>

namespace lastcall {

// The longest message of a host, in bytes: as much as a client of the admin service takes by
// default, which is where the reports go. A host cuts what it has to say to this.
inline constexpr size_t kMaxFromHost = 4 << 20;

class HostAllowance {
 public:
  // An order was sent, and may be answered, however often that is.
  void Ordered() { bucket_.Add(kMaxFromHost); }
  // False: it has said more than it may.
  bool TryTake(size_t bytes, size_t descriptors, Instant now) {
    const size_t cost = bytes + kMessage + kDescriptor * descriptors;
    return bytes <= kMaxFromHost && bucket_.TryTake(now, static_cast<double>(cost));
  }

 private:
  // What it costs to take a message, or a descriptor, beside its bytes.
  static constexpr size_t kMessage = 1024;
  static constexpr size_t kDescriptor = 64;

  // A host that behaves says a few kilobytes at each of its stages, once, and beside that what it is
  // asked; the last of one with 100,000 connections, which it hands over, take 6.5 MiB.
  TokenBucket bucket_{{.burst = 16 << 20, .per_second = 1 << 20}};
};

}  // namespace lastcall
