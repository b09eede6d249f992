#include "lastcall/event/loop_offload.h"

#include <algorithm>
#include <mutex>
#include <vector>

namespace lastcall {

// Outlives the LoopOffload as long as a thread does.
struct LoopOffload::Answers {
  std::mutex mutex;
  Executor executor;             // empty: the owner is gone
  LoopOffload* owner = nullptr;  // the same for what the executor runs; of the owner's thread alone

  static void Post(const std::shared_ptr<Answers>& answers, uint64_t id,
                   const std::optional<Error>& error) {
    std::lock_guard lock(answers->mutex);
    if (!answers->executor) return;
    answers->executor([answers, id, error] {
      if (answers->owner != nullptr) answers->owner->Answer(id, error);
    });
  }
};

LoopOffload::LoopOffload(Executor executor, size_t most_threads, size_t ready_threads)
    : answers_(std::make_shared<Answers>()),
      threads_({.threads = most_threads, .ready = ready_threads}) {
  answers_->executor = std::move(executor);
  answers_->owner = this;
}

LoopOffload::~LoopOffload() {
  for (const auto& [id, waiting] : waiting_) Abandon(waiting);
  answers_->owner = nullptr;
  Executor executor;  // ends after the lock
  std::lock_guard lock(answers_->mutex);
  executor.swap(answers_->executor);
}

void LoopOffload::Enqueue(Instant by, OffloadThreads::Work work, OffloadThreads::Done done) {
  const uint64_t id = ++last_;
  auto begun = threads_.Begin(std::move(work), [answers = answers_, id](const Error* error) {
    Answers::Post(answers, id, error == nullptr ? std::nullopt : std::optional(*error));
  });
  waiting_.emplace(id, Waiting{by, std::move(done), begun ? std::move(*begun) : nullptr});
  if (!begun) Answers::Post(answers_, id, begun.error());
}

void LoopOffload::Answer(uint64_t id, const std::optional<Error>& error) {
  auto waiting = waiting_.extract(id);
  if (!waiting.empty()) waiting.mapped().done(error ? &*error : nullptr);
}

void LoopOffload::Abandon(const Waiting& waiting) {
  if (waiting.item != nullptr) threads_.Abandon(*waiting.item);
}

void LoopOffload::Cancel(const Error& error) {
  for (auto& [id, waiting] : waiting_) {
    Abandon(waiting);
    Answers::Post(answers_, id, error);
    waiting.by = kNever;
  }
}

void LoopOffload::OnTick(Instant now) {
  std::vector<Waiting> late;
  std::erase_if(waiting_, [&](auto& each) {
    if (each.second.by > now) return false;
    late.push_back(std::move(each.second));
    return true;
  });
  for (const Waiting& waiting : late) {
    Abandon(waiting);
    const Error error{Code::kDeadlineExceeded, "it has not returned in time"};
    waiting.done(&error);
  }
}

Instant LoopOffload::next_instant() const {
  Instant next = kNever;
  for (const auto& [id, waiting] : waiting_) next = std::min(next, waiting.by);
  return next;
}

}  // namespace lastcall
