#include "lastcall/event/notices.h"

#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <mutex>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "lastcall/base/log.h"
#include "lastcall/base/log_queue.h"
#include "lastcall/base/safe_text.h"

namespace lastcall {

struct Notices::List {
  using Entries = std::list<std::shared_ptr<Subscription::Entry>>;

  std::mutex mutex;
  Entries entries;
  bool happened = false;  // who comes from now on is told at once
};

namespace {

// What is done in one thread at a time; requested meanwhile, it is done once more. Without a lock:
// one exchange before and one after.
class Activity {
 public:
  template <class F>
  void Perform(const F& act) {
    uint32_t state = state_.load(std::memory_order_relaxed);
    do {
      if ((state & kEnded) != 0) return;
    } while (!state_.compare_exchange_weak(state, state == 0 ? kRuns : kRuns | kAgain,
                                           std::memory_order_acq_rel));
    if (state != 0) return;  // whoever runs it does it once more
    uint32_t expected;
    do {
      in_.store(std::this_thread::get_id(), std::memory_order_relaxed);
      try {
        act();
      } catch (...) {
        Fail();
        throw;
      }
      // Before it is over: a thread that ran it once is not in it when another runs it.
      in_.store({}, std::memory_order_relaxed);
      expected = kRuns;
      // Unless it was requested again, or ended.
      if (state_.compare_exchange_strong(expected, 0, std::memory_order_acq_rel)) return;
    } while (expected == (kRuns | kAgain) &&
             state_.exchange(kRuns, std::memory_order_acq_rel) == (kRuns | kAgain));
    state_.exchange(kEnded);  // a barrier too: notify_all looks for waiters before it wakes them
    state_.notify_all();
  }

  // Not begun any more.
  void Forbid() { state_.fetch_or(kEnded, std::memory_order_acq_rel); }

  // Not done any more once this returns, unless this very thread is in the middle of it.
  void End() {
    Forbid();
    if (in_.load(std::memory_order_relaxed) == std::this_thread::get_id()) return;
    uint32_t state;
    while (((state = state_.load(std::memory_order_acquire)) & kRuns) != 0) state_.wait(state);
  }

 private:
  // It threw, which goes on to whoever runs it. What was requested meanwhile went with it.
  void Fail() {
    in_.store({}, std::memory_order_relaxed);
    state_.fetch_and(kEnded);  // as at the end of Perform
    state_.notify_all();
  }

  static constexpr uint32_t kRuns = 1, kAgain = 2, kEnded = 4;

  std::atomic<uint32_t> state_{0};
  std::atomic<std::thread::id> in_;  // while it runs
};

}  // namespace

// One callback.
struct Subscription::Entry : std::enable_shared_from_this<Entry> {
  Entry(Executor where, Callback what) : executor(std::move(where)), callback(std::move(what)) {}

  void Notify() {
    if (!executor) return Run();
    try {
      posting.Perform([this] { executor([self = shared_from_this()] { self->Run(); }); });
    } catch (const std::exception& error) {
      SayThrown(error.what());
    } catch (...) {
      SayThrown("something that is not a std::exception");
    }
  }

  void Run() { running.Perform(callback); }

  void End() {
    posting.End();
    running.End();
  }

  // In a forked child whoever ran it is not there, and will not return.
  void EndInChild() {
    posting.Forbid();
    running.Forbid();
  }

  // The others must hear of it all the same, and so must the loop, behind whoever tells.
  static void SayThrown(const std::string& what) {
    try {
      LogQueue::Stderr()(
          LogLevel::kWarning,
          "lastcall: an executor threw, and what it was given is dropped: " + SafeText(what));
    } catch (const std::system_error&) {
      // No thread is left.
    }
  }

  const pid_t pid = getpid();
  const Executor executor;
  const Callback callback;
  Activity posting;
  Activity running;
  // Where it is listed; guarded by the list's lock.
  std::weak_ptr<Notices::List> list;
  Notices::List::Entries::iterator position;
  bool listed = false;
};

void Subscription::End(const std::shared_ptr<Entry>& entry) {
  if (entry == nullptr) return;
  // In a forked child somebody may have had the lock when it was copied.
  if (getpid() != entry->pid) return entry->EndInChild();
  if (const auto list = entry->list.lock()) {
    std::lock_guard lock(list->mutex);
    if (std::exchange(entry->listed, false)) list->entries.erase(entry->position);
  }
  entry->End();
}

Notices::Notices() : list_(std::make_shared<List>()) {}
Notices::~Notices() = default;

Subscription Notices::Late(Executor executor, Callback callback) {
  Subscription subscription(MakeEntry(std::move(executor), std::move(callback)));
  subscription.entry_->Notify();
  return subscription;
}

std::shared_ptr<Subscription::Entry> Notices::MakeEntry(Executor executor, Callback callback) {
  if (!callback) {
    LogToStderr(LogLevel::kError,
                "lastcall: an empty callback was subscribed; there is nothing to call");
    std::abort();
  }
  return std::make_shared<Subscription::Entry>(std::move(executor), std::move(callback));
}

Subscription Notices::Subscribe(Executor executor, Callback callback) {
  auto entry = MakeEntry(std::move(executor), std::move(callback));
  {
    std::lock_guard lock(list_->mutex);
    if (!list_->happened) {
      entry->list = list_;
      entry->position = list_->entries.insert(list_->entries.end(), entry);
      entry->listed = true;
      return Subscription(std::move(entry));
    }
  }
  entry->Notify();
  return Subscription(std::move(entry));
}

void Notices::Notify() {
  std::vector<std::shared_ptr<Subscription::Entry>> entries;
  {
    std::lock_guard lock(list_->mutex);
    entries.assign(list_->entries.begin(), list_->entries.end());
  }
  for (const auto& entry : entries) entry->Notify();
}

void Notices::NotifyLast() {
  List::Entries entries;
  {
    std::lock_guard lock(list_->mutex);
    list_->happened = true;
    for (const auto& entry : list_->entries) entry->listed = false;
    entries.swap(list_->entries);
  }
  for (const auto& entry : entries) entry->Notify();
}

void Notices::NotifyExecutors() {
  List::Entries entries;
  {
    std::lock_guard lock(list_->mutex);
    list_->happened = true;
    for (auto each = list_->entries.begin(); each != list_->entries.end();) {
      const auto entry = each++;
      if (!(*entry)->executor) continue;
      (*entry)->listed = false;
      entries.splice(entries.end(), list_->entries, entry);
    }
  }
  for (const auto& entry : entries) entry->Notify();
}

}  // namespace lastcall
