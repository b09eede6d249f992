// What a program has in flight and what it has open, by name, so that stopping can wait for it and
// the receipt can name it.
//
//   lastcall::Work job = program.Enter("resize cat.png");   // ends when `job` goes
#pragma once

#include <pthread.h>
#include <unistd.h>

#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include <lastcall/base/clock.h>

namespace lastcall {

class WorkList;

// One entry of a list, for as long as this lives.
// Threads: may be moved to and ended in any thread. May outlive the program's lifecycle. In a forked
// child its end does nothing.
class Work {
 public:
  enum class Kind : uint8_t {
    kInFlight,  // a call or a job: grace lasts while there is one
    kPart,      // a pool, a file: cancel lasts until it is closed
    kHold,  // a server that drains: grace and cancel last until it is done; not counted as a call
  };
  static constexpr size_t kKinds = 3;
  struct Info {
    std::string name;
    std::string peer;  // who requested it, where that is known
    Instant began{};
    pthread_t thread{};  // that entered it
  };

  Work() = default;  // of nothing
  Work(Work&& other) noexcept { *this = std::move(other); }
  Work& operator=(Work&& other) noexcept;
  ~Work() { End(); }

  // Does nothing the second time.
  void End();

 private:
  friend class WorkList;
  struct Entry {
    Kind kind;
    Info info;
    bool cancelled = false;
  };
  Work(std::shared_ptr<WorkList> list, std::list<Entry>::iterator entry);

  std::shared_ptr<WorkList> list_;  // null: of nothing
  std::list<Entry>::iterator entry_;
};

// Threads: any, for every method. Cost: one short lock each.
class WorkList : public std::enable_shared_from_this<WorkList> {
 public:
  using Kind = Work::Kind;

  Work Enter(Kind kind, std::string name, std::string peer, Instant now);

  size_t count(Kind kind) const;
  // The oldest first, `at_most` of them.
  std::vector<Work::Info> Entries(Kind kind, size_t at_most) const;
  // When something was last in flight anew.
  Instant last_entered() const;
  // What was in flight and has ended without being cancelled.
  uint64_t finished() const;

  // Everything that is in flight counts as cancelled from now on. Returns how many.
  size_t CancelAll();
  // Calls `none_left` each time the last entry of a kind ends, under the lock: it must not block
  // and must not come back here. Null: no more calls, and none is running once this returns.
  void Watch(std::function<void()> none_left);

 private:
  friend class Work;
  void End(std::list<Work::Entry>::iterator entry);
  std::list<Work::Entry>& entries(Kind kind) { return entries_[static_cast<size_t>(kind)]; }
  const std::list<Work::Entry>& entries(Kind kind) const {
    return entries_[static_cast<size_t>(kind)];
  }

  const pid_t pid_ = getpid();
  mutable std::mutex mutex_;
  std::list<Work::Entry> entries_[Work::kKinds];  // of each kind
  Instant last_entered_{};
  uint64_t finished_ = 0;
  std::function<void()> none_left_;
};

}  // namespace lastcall
