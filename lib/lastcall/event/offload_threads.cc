#include "lastcall/event/offload_threads.h"

#include <pthread.h>

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <exception>
#include <mutex>
#include <optional>
#include <string>
#include <system_error>
#include <thread>
#include <utility>

namespace lastcall {

struct OffloadThreads::Item {
  const Work work;
  const Done done;
  std::stop_source stop;
  bool running = false;  // under Shared's mutex, as what follows
  bool abandoned = false;
};

// Outlives the OffloadThreads as long as a thread does.
struct OffloadThreads::Shared {
  explicit Shared(const Limits& most) : limits(most) {}

  const Limits limits;
  std::mutex mutex;
  std::condition_variable more;  // queued, or the end
  std::condition_variable idle;
  bool ended = false;
  std::deque<std::shared_ptr<Item>> queue;  // what no thread has taken
  size_t resting = 0;                       // threads that wait for more
  size_t starting = 0;                      // that were made for something, and have yet to take it
  Counts counts;

  // Order: the mutex is held, for these. What will find none of those who come for more.
  size_t Waiting() const { return queue.size() - std::min(queue.size(), resting + starting); }
  bool Full() const;
  bool Rest(std::unique_lock<std::mutex>& lock, bool stays);
  void RunOne(std::unique_lock<std::mutex>& lock);

  static std::optional<Error> Run(const Item& item);
  static void RunThread(const std::shared_ptr<Shared>& shared, bool stays);
};

std::optional<Error> OffloadThreads::Shared::Run(const Item& item) {
  try {
    item.work(item.stop.get_token());
    return std::nullopt;
  } catch (const std::exception& error) {
    return Error{Code::kInternal, error.what()};
  } catch (...) {
    return Error{Code::kInternal, "an exception of an unknown type"};
  }
}

bool OffloadThreads::Shared::Full() const {
  const bool a_thread_more = resting + counts.working < limits.threads;
  return !a_thread_more && resting + starting <= queue.size() && Waiting() >= limits.queue;
}

// False: nobody came, and the thread is to end.
bool OffloadThreads::Shared::Rest(std::unique_lock<std::mutex>& lock, bool stays) {
  if (--counts.working == 0) idle.notify_all();
  const auto woken = [this] { return !queue.empty() || ended; };
  ++resting;
  if (stays) {
    more.wait(lock, woken);
  } else {
    more.wait_for(lock, limits.rest, woken);
  }
  --resting;
  if (queue.empty()) return false;
  ++counts.working;
  return true;
}

void OffloadThreads::Shared::RunOne(std::unique_lock<std::mutex>& lock) {
  auto item = std::move(queue.front());
  queue.pop_front();
  item->running = true;
  lock.unlock();
  const auto error = Run(*item);
  lock.lock();
  item->running = false;
  if (item->abandoned) --counts.abandoned;
  const bool wanted = !item->abandoned;
  lock.unlock();
  if (wanted) item->done(error ? &*error : nullptr);
  item.reset();  // what it captured may end in its own time
  lock.lock();
}

// One thread: what is queued, one piece after another.
void OffloadThreads::Shared::RunThread(const std::shared_ptr<Shared>& shared, bool stays) {
  pthread_setname_np(pthread_self(), "offload");
  std::unique_lock lock(shared->mutex);
  if (!stays) --shared->starting;
  for (;;) {
    if (shared->queue.empty() && !shared->Rest(lock, stays)) return;
    shared->RunOne(lock);
  }
}

OffloadThreads::OffloadThreads(const Limits& limits) : shared_(std::make_shared<Shared>(limits)) {
  std::lock_guard lock(shared_->mutex);
  for (size_t made = 0; made < limits.ready; ++made) {
    std::thread(&Shared::RunThread, shared_, true).detach();
    ++shared_->counts.working;  // until it rests
  }
}

OffloadThreads::~OffloadThreads() {
  std::deque<std::shared_ptr<Item>> queue;  // ends after the lock
  std::lock_guard lock(shared_->mutex);
  queue.swap(shared_->queue);
  shared_->ended = true;
  shared_->more.notify_all();
}

Result<std::shared_ptr<OffloadThreads::Item>> OffloadThreads::Begin(Work work, Done done) {
  const auto item =
      std::make_shared<Item>(Item{.work = std::move(work), .done = std::move(done), .stop = {}});
  Shared& shared = *shared_;
  std::lock_guard lock(shared.mutex);
  if (shared.Full()) return Fail(Code::kResourceExhausted, "the queue is full");
  shared.queue.push_back(item);
  if (shared.resting >= shared.queue.size()) {
    shared.more.notify_one();
  } else if (shared.resting + shared.counts.working < shared.limits.threads) {
    ++shared.counts.working;
    ++shared.starting;
    try {
      std::thread(&Shared::RunThread, shared_, false).detach();
    } catch (const std::system_error& error) {
      --shared.starting;
      // With others there, one of them will come to it.
      if (--shared.counts.working + shared.resting == 0) {
        shared.queue.pop_back();
        return Fail(Code::kResourceExhausted,
                    "no thread can be made: " + std::string(error.what()));
      }
    }
  }
  shared.counts.most_queued = std::max(shared.counts.most_queued, shared.Waiting());
  return item;
}

void OffloadThreads::Abandon(Item& item) {
  item.stop.request_stop();  // outside the lock, for it runs callbacks
  std::lock_guard lock(shared_->mutex);
  const auto same = [&item](const auto& one) { return one.get() == &item; };
  // The queue's reference is never the last one: the caller has another.
  if (std::erase_if(shared_->queue, same) > 0 || !item.running || item.abandoned) return;
  item.abandoned = true;
  ++shared_->counts.abandoned;
}

OffloadThreads::Counts OffloadThreads::counts() const {
  std::lock_guard lock(shared_->mutex);
  Counts counts = shared_->counts;
  counts.queued = shared_->Waiting();
  return counts;
}

bool OffloadThreads::WaitIdle(Instant by) const {
  std::unique_lock lock(shared_->mutex);
  const auto idle = [this] { return shared_->counts.working == 0 && shared_->queue.empty(); };
  if (by != kNever) return shared_->idle.wait_until(lock, by, idle);
  shared_->idle.wait(lock, idle);
  return true;
}

}  // namespace lastcall
