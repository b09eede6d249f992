// OffloadThreads: threads for what takes time, or never returns. What LoopOffload and a plugin's
// Offload stand on.
#pragma once

#include <cstddef>
#include <functional>
#include <limits>
#include <memory>
#include <stop_token>

#include <lastcall/base/clock.h>
#include <lastcall/base/result.h>

namespace lastcall {

// Nothing can end a thread that waits for a file system, a name service or a database that is gone.
// So work may be abandoned: its thread goes on, and what it returns is dropped. It still counts
// towards the bound, so that a place that hangs costs so many threads and no more.
// Threads: any.
class OffloadThreads {
 public:
  // Owns what it uses; its token is told when nobody wants the answer any more.
  using Work = std::function<void(const std::stop_token&)>;
  // Null: the work has returned; else what it threw, kInternal. It must not throw.
  using Done = std::function<void(const Error*)>;
  struct Item;  // a piece of work

  struct Limits {
    size_t threads = 1;                                 // that work, whoever waits for it
    size_t queue = std::numeric_limits<size_t>::max();  // pieces that wait for a thread
    // Threads that are made now and stay, for what must not fail where this machine has no more of
    // them. The others are made when they are needed,
    size_t ready = 0;
    // and end when they have had nothing to do for so long.
    Duration rest = Duration::zero();
  };
  struct Counts {
    size_t working = 0;    // threads, for whoever waits and for nobody
    size_t abandoned = 0;  // the second kind alone
    size_t queued = 0;     // pieces that wait for a thread
    size_t most_queued = 0;
  };

  // Throws: std::system_error, where there are no `ready` threads.
  explicit OffloadThreads(const Limits& limits);
  // What is queued is dropped. Does not wait: a thread that still runs has nothing of this.
  ~OffloadThreads();
  OffloadThreads(const OffloadThreads&) = delete;
  OffloadThreads& operator=(const OffloadThreads&) = delete;

  // `done` is told in the thread that worked, and not at all once the work is abandoned.
  // Fails: kResourceExhausted, the queue is full, or no thread can be made. Nothing runs, then.
  Result<std::shared_ptr<Item>> Begin(Work work, Done done);
  // Where no thread has begun it, none will.
  void Abandon(Item& item);

  Counts counts() const;
  // Blocks: until no thread works, the last Done included; at most until then. True: none does.
  bool WaitIdle(Instant by) const;

 private:
  struct Shared;  // with the threads

  const std::shared_ptr<Shared> shared_;
};

}  // namespace lastcall
