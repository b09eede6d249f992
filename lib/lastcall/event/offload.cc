#include "lastcall/event/offload.h"

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <exception>
#include <mutex>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

namespace lastcall {

struct Offload::Item {
  const uint64_t id;
  const Work work;
  std::stop_source stop;
  bool abandoned = false;  // under Shared's mutex, as what follows
  bool running = false;
};

// Outlives the Offload as long as a thread does.
struct Offload::Shared {
  explicit Shared(Executor run, size_t most) : executor(std::move(run)), most_threads(most) {}

  std::mutex mutex;
  std::condition_variable more;  // queued, or the end
  std::condition_variable idle;
  Executor executor;         // empty: the owner is gone
  Offload* owner = nullptr;  // the same for what the executor runs; of the owner's thread alone
  const size_t most_threads;
  std::deque<std::shared_ptr<Item>> queue;  // what no thread has begun
  size_t resting = 0;                       // threads that wait for more
  size_t working = 0;                       // or are about to
  size_t abandoned = 0;

  static void RunThread(const std::shared_ptr<Shared>& shared, bool stays);
  static std::optional<Error> Run(const Item& item);
};

std::optional<Error> Offload::Shared::Run(const Item& item) {
  try {
    item.work(item.stop.get_token());
    return std::nullopt;
  } catch (const std::exception& error) {
    return Error{Code::kInternal, error.what()};
  } catch (...) {
    return Error{Code::kInternal, "an exception of an unknown type"};
  }
}

// One thread: what is queued, one after another. When nothing is, it ends, or rests where it stays.
void Offload::Shared::RunThread(const std::shared_ptr<Shared>& shared, bool stays) {
  std::unique_lock lock(shared->mutex);
  for (;;) {
    if (shared->queue.empty()) {
      if (--shared->working == 0) shared->idle.notify_all();
      if (!stays) return;
      ++shared->resting;
      shared->more.wait(lock, [&] { return !shared->queue.empty() || !shared->executor; });
      --shared->resting;
      if (shared->queue.empty()) return;
      ++shared->working;
    }
    auto item = std::move(shared->queue.front());
    shared->queue.pop_front();
    item->running = true;
    lock.unlock();
    auto error = Run(*item);
    lock.lock();
    item->running = false;
    if (item->abandoned) {
      --shared->abandoned;
    } else if (shared->executor) {
      shared->executor([shared, id = item->id, error = std::move(error)] {
        if (shared->owner != nullptr) shared->owner->Answer(id, error);
      });
    }
    lock.unlock();
    item.reset();  // what it captured may end in its own time
    lock.lock();
  }
}

Offload::Offload(Executor executor, size_t most_threads, size_t ready_threads)
    : shared_(std::make_shared<Shared>(std::move(executor), most_threads)) {
  shared_->owner = this;
  std::lock_guard lock(shared_->mutex);
  for (; ready_threads > 0; --ready_threads) {
    std::thread(&Shared::RunThread, shared_, true).detach();
    ++shared_->working;  // until it rests
  }
}

Offload::~Offload() {
  for (const auto& [id, waiting] : waiting_) Abandon(*waiting.item);
  shared_->owner = nullptr;
  std::deque<std::shared_ptr<Item>> queue;  // ends after the lock, as the executor does
  Executor executor;
  std::lock_guard lock(shared_->mutex);
  queue.swap(shared_->queue);
  executor.swap(shared_->executor);
  shared_->more.notify_all();
}

void Offload::Enqueue(Instant by, Work work, Done done) {
  const uint64_t id = ++last_;
  const auto item = std::make_shared<Item>(Item{.id = id, .work = std::move(work), .stop = {}});
  waiting_.emplace(id, Waiting{by, std::move(done), item});
  std::lock_guard lock(shared_->mutex);
  shared_->queue.push_back(item);
  if (shared_->resting >= shared_->queue.size()) return shared_->more.notify_one();
  if (shared_->resting + shared_->working >= shared_->most_threads) return;
  ++shared_->working;
  try {
    std::thread(&Shared::RunThread, shared_, false).detach();
  } catch (const std::system_error& error) {
    // With others there, one of them will come to it.
    if (--shared_->working + shared_->resting > 0) return;
    shared_->queue.pop_back();
    shared_->executor([shared = shared_, id, why = std::string(error.what())] {
      const Error none{Code::kResourceExhausted, "no thread can be made: " + why};
      if (shared->owner != nullptr) shared->owner->Answer(id, none);
    });
  }
}

void Offload::Answer(uint64_t id, const std::optional<Error>& error) {
  auto waiting = waiting_.extract(id);
  if (!waiting.empty()) waiting.mapped().done(error ? &*error : nullptr);
}

// Its answer is not wanted; where no thread has begun it, none will.
void Offload::Abandon(Item& item) {
  item.stop.request_stop();  // outside the lock, for it runs callbacks
  std::lock_guard lock(shared_->mutex);
  const auto same = [&item](const auto& one) { return one.get() == &item; };
  if (std::erase_if(shared_->queue, same) > 0 || !item.running || item.abandoned) return;
  item.abandoned = true;
  ++shared_->abandoned;
}

void Offload::Cancel(const Error& error) {
  for (auto& [id, waiting] : waiting_) {
    Abandon(*waiting.item);
    shared_->executor([shared = shared_, number = id, error] {
      if (shared->owner != nullptr) shared->owner->Answer(number, error);
    });
    waiting.by = kNever;
  }
}

void Offload::OnTick(Instant now) {
  std::vector<Waiting> late;
  std::erase_if(waiting_, [&](auto& each) {
    if (each.second.by > now) return false;
    late.push_back(std::move(each.second));
    return true;
  });
  for (const Waiting& waiting : late) {
    Abandon(*waiting.item);
    const Error error{Code::kDeadlineExceeded, "it has not returned in time"};
    waiting.done(&error);
  }
}

Instant Offload::next_instant() const {
  Instant next = kNever;
  for (const auto& [id, waiting] : waiting_) next = std::min(next, waiting.by);
  return next;
}

size_t Offload::running() const {
  std::lock_guard lock(shared_->mutex);
  return shared_->working;
}

size_t Offload::abandoned() const {
  std::lock_guard lock(shared_->mutex);
  return shared_->abandoned;
}

bool Offload::WaitIdle(Instant by) const {
  std::unique_lock lock(shared_->mutex);
  const auto idle = [this] { return shared_->working == 0 && shared_->queue.empty(); };
  if (by != kNever) return shared_->idle.wait_until(lock, by, idle);
  shared_->idle.wait(lock, idle);
  return true;
}

}  // namespace lastcall
