// Reads of this process's own memory where it may not be mapped, or not be for long: what a pointer
// of another thread leads to. The kernel does the reading, so that a bad address is an answer and
// not a fault.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>

namespace lastcall {

// Whether all of it was there; else `to` may hold a part. Threads: any, signal handlers too.
bool ReadOwn(uint64_t address, void* to, size_t size);

// As much as there is from `address` on, to the end of a page: so many bytes of at most `size`.
// Threads: any, signal handlers too.
size_t ReadOwnUpTo(uint64_t address, void* to, size_t size);

// Many reads near one another, each page by one system call: what was read first is what is seen
// from then on.
class OwnPages {
 public:
  // Whether all of it was there; else `to` may hold a part.
  bool Read(uint64_t address, void* to, size_t size);

 private:
  static constexpr size_t kPageSize = 4096;
  struct Page {
    bool there = false;
    std::array<uint8_t, kPageSize> bytes;
  };
  const Page& PageAt(uint64_t address);

  std::map<uint64_t, Page> pages_;
};

// Whether the kernel lets a process do that at all.
bool CanReadOwn();

}  // namespace lastcall
