#include "lastcall/rpc/call_directory.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <mutex>

#include "lastcall/rpc/live_call.h"

namespace lastcall {
namespace {

struct alignas(64) Shard {  // a cache line
  std::mutex mutex;
  std::array<LiveCall*, 64> buckets{};  // each the first of those who are there
};

// By context, of which there are as many as calls.
struct Slot {
  std::mutex& mutex;
  LiveCall*& first;
};

Slot SlotOf(const void* context) {
  static auto* const shards = new std::array<Shard, 32>;  // outlives every thread
  // Fibonacci hashing: addresses of one allocator differ in few bits.
  const uint64_t hash =
      static_cast<uint64_t>(reinterpret_cast<uintptr_t>(context)) * 0x9E3779B97F4A7C15u;
  Shard& shard = (*shards)[hash >> 59U];
  return {shard.mutex, shard.buckets[(hash >> 53U) & 63U]};
}

}  // namespace

// Order, of what follows: the slot's mutex is held.

LiveCall** CallDirectory::PlaceOf(LiveCall*& first, const grpc::ServerContextBase* context) {
  LiveCall** place = &first;
  while (*place != nullptr && (*place)->context() != context) {
    place = &(*place)->directory_place().next_;
  }
  return place;
}

std::shared_ptr<LiveCall> CallDirectory::TakeOut(LiveCall** place) {
  LiveCall* const call = *place;
  *place = call->directory_place().next_;
  return call->shared_from_this();
}

std::shared_ptr<LiveCall> CallDirectory::Enter(LiveCall& call) {
  std::shared_ptr<LiveCall> last;
  const Slot slot = SlotOf(call.context());
  std::lock_guard lock(slot.mutex);
  LiveCall** const place = PlaceOf(slot.first, call.context());
  if (*place != nullptr) last = TakeOut(place);
  call.directory_place().next_ = slot.first;
  slot.first = &call;
  return last;
}

void CallDirectory::Leave(LiveCall& call) {
  const Slot slot = SlotOf(call.context());
  std::lock_guard lock(slot.mutex);
  LiveCall** const place = PlaceOf(slot.first, call.context());
  if (*place == &call) *place = call.directory_place().next_;
}

std::shared_ptr<LiveCall> CallDirectory::Find(const grpc::ServerContextBase* context) {
  const Slot slot = SlotOf(context);
  std::lock_guard lock(slot.mutex);
  LiveCall* const call = *PlaceOf(slot.first, context);
  return call != nullptr ? call->shared_from_this() : nullptr;
}

}  // namespace lastcall
