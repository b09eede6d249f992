#include "lastcall/threads/own_memory.h"

#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>

namespace lastcall {
namespace {

// No larger than the smallest page that there is: a piece is read whole or not at all.
constexpr uint64_t kPiece = 4096;
constexpr size_t kPieces = 33;

}  // namespace

bool ReadOwn(uint64_t address, void* to, size_t size) {
  const iovec local{to, size};
  const iovec remote{reinterpret_cast<void*>(address), size};
  return process_vm_readv(getpid(), &local, 1, &remote, 1, 0) == static_cast<ssize_t>(size);
}

size_t ReadOwnUpTo(uint64_t address, void* to, size_t size) {
  std::array<iovec, kPieces> remote;
  size_t pieces = 0, planned = 0;
  while (planned < size && pieces < remote.size()) {
    const uint64_t at = address + planned;
    const size_t piece = std::min<uint64_t>(size - planned, kPiece - at % kPiece);
    remote[pieces++] = {reinterpret_cast<void*>(at), piece};
    planned += piece;
  }
  const iovec local{to, planned};
  const ssize_t got = process_vm_readv(getpid(), &local, 1, remote.data(), pieces, 0);
  return got < 0 ? 0 : static_cast<size_t>(got);
}

bool OwnPages::Read(uint64_t address, void* to, size_t size) {
  auto* out = static_cast<uint8_t*>(to);
  while (size > 0) {
    const size_t begin = address % kPageSize;
    const size_t part = std::min(size, kPageSize - begin);
    const Page& page = PageAt(address - begin);
    if (!page.there) return false;
    std::copy_n(&page.bytes[begin], part, out);
    address += part;
    out += part;
    size -= part;
  }
  return true;
}

const OwnPages::Page& OwnPages::PageAt(uint64_t address) {
  constexpr size_t kMost = 1024;
  if (pages_.size() >= kMost) pages_.clear();
  const auto [found, is_new] = pages_.try_emplace(address);
  Page& page = found->second;
  if (is_new) page.there = ReadOwn(address, page.bytes.data(), page.bytes.size());
  return page;
}

bool CanReadOwn() {
  const int probe = 1;
  int copy = 0;
  return ReadOwn(reinterpret_cast<uint64_t>(&probe), &copy, sizeof(copy)) && copy == 1;
}

}  // namespace lastcall
