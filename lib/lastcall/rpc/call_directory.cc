#include "lastcall/rpc/call_directory.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <unordered_map>
#include <utility>

namespace lastcall {
namespace {

struct Shard {
  std::mutex mutex;
  std::unordered_map<const void*, std::shared_ptr<LiveCall>> calls;
};
constexpr size_t kShards = 32;

Shard& ShardOf(const void* context) {
  static auto* const shards = new std::array<Shard, kShards>;  // outlives every thread
  return (*shards)[(reinterpret_cast<uintptr_t>(context) >> 6) % kShards];
}

}  // namespace

std::shared_ptr<LiveCall> CallDirectory::Enter(const grpc::ServerContextBase* context,
                                               std::shared_ptr<LiveCall> call) {
  Shard& shard = ShardOf(context);
  std::lock_guard lock(shard.mutex);
  shard.calls[context].swap(call);
  return call;
}

void CallDirectory::Leave(const grpc::ServerContextBase* context, const LiveCall& call) {
  std::shared_ptr<LiveCall> left;  // goes after the lock
  Shard& shard = ShardOf(context);
  std::lock_guard lock(shard.mutex);
  const auto found = shard.calls.find(context);
  if (found == shard.calls.end() || found->second.get() != &call) return;
  left = std::move(found->second);
  shard.calls.erase(found);
}

std::shared_ptr<LiveCall> CallDirectory::Find(const grpc::ServerContextBase* context) {
  Shard& shard = ShardOf(context);
  std::lock_guard lock(shard.mutex);
  const auto found = shard.calls.find(context);
  return found == shard.calls.end() ? nullptr : found->second;
}

}  // namespace lastcall
