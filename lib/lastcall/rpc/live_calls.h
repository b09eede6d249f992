// LiveCalls: the calls of one server that have begun and not ended.
#pragma once

#include <array>
#include <cstddef>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

namespace lastcall {

class LiveCall;

// A list that costs a call no memory of its own to be in. In parts with a lock each, so that calls
// which begin and end at the same time seldom meet. Threads: any.
class LiveCalls {
 public:
  // What a call has for being in the list.
  class Place {
   public:
    Place() = default;
    Place(const Place&) = delete;
    Place& operator=(const Place&) = delete;

   private:
    friend class LiveCalls;
    Place* before_ = this;
    Place* after_ = this;
    std::shared_ptr<LiveCall> call_;  // while it is there
  };

  void Enter(std::shared_ptr<LiveCall> call);
  // Gives the list's own reference back, which may be the last. Order: after Enter, once.
  std::shared_ptr<LiveCall> Leave(LiveCall& call);

  // Those who are there now, oldest first. Who enters before this is called and does not leave is among
  // them.
  std::vector<std::shared_ptr<LiveCall>> Snapshot() const;
  // Of these, in no order, those that are wanted. `wanted` runs under a lock that calls need in order to
  // begin and end: it must be quick.
  std::vector<std::shared_ptr<LiveCall>> Find(
      const std::function<bool(const LiveCall&)>& wanted) const;

 private:
  struct alignas(64) Part {  // a cache line
    mutable std::mutex mutex;
    Place ends;  // of a ring
  };
  static constexpr size_t kParts = 16;

  Part& PartOf(const LiveCall& call);

  std::array<Part, kParts> parts_;
};

}  // namespace lastcall
