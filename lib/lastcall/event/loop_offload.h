// LoopOffload: threads for what takes time, or never returns, beside a loop that must not wait for it.
//
//   LoopOffload offload(post_to_loop, 16);
//   offload.Begin<Config>(clock.Now() + 30s, [file](const std::stop_token&) { return Read(file); },
//                         [this](Result<Config> config) { Judge(std::move(config)); });
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <stop_token>
#include <utility>

#include <lastcall/base/clock.h>
#include <lastcall/base/result.h>
#include <lastcall/event/offload_threads.h>
#include <lastcall/event/subscription.h>

namespace lastcall {

// Each piece of work has an instant by which its answer is wanted; from then on it is abandoned, see
// OffloadThreads. What finds no thread waits for one, and for its own instant.
//
// Threads: the owner's, in which the executor runs what it is given. The executor itself is called
// in any thread, and must neither block nor throw.
// Order: each piece of work is answered once, never inside Begin. After the end no answer runs.
class LoopOffload {
 public:
  // `ready_threads`: see OffloadThreads::Limits. Throws: as OffloadThreads.
  LoopOffload(Executor executor, size_t most_threads, size_t ready_threads = 0);
  // Does not wait: threads that still run have nothing of the owner's.
  ~LoopOffload();
  LoopOffload(const LoopOffload&) = delete;
  LoopOffload& operator=(const LoopOffload&) = delete;

  // `work` runs in a thread of ours and must own what it uses; its token is told when nobody wants
  // the answer any more. `done` is told in the owner's thread what it returned.
  // Fails, through `done`: kDeadlineExceeded, OnTick passed `by`; kInternal, it threw;
  // kResourceExhausted, no thread can be made for it; and as Cancel says.
  template <class T>
  void Begin(Instant by, std::function<T(const std::stop_token&)> work,
             std::function<void(Result<T>)> done) {
    const auto result = std::make_shared<std::optional<T>>();
    Enqueue(
        by,
        [result, work = std::move(work)](const std::stop_token& stop) {
          result->emplace(work(stop));
        },
        [result, done = std::move(done)](const Error* error) {
          if (error != nullptr) return done(tl::unexpected(*error));
          done(std::move(**result));
        });
  }

  // What was begun and is not answered yet is answered with this, soon, and abandoned.
  void Cancel(const Error& error);
  // Answers what is wanted by now and not there.
  void OnTick(Instant now);
  // When OnTick is due; kNever: nothing is waited for.
  Instant next_instant() const;

  // What was begun and is not answered yet.
  size_t waiting() const { return waiting_.size(); }
  // Threads that work, for whoever waits and for nobody.
  size_t running() const { return threads_.counts().working; }
  // The second kind alone.
  size_t abandoned() const { return threads_.counts().abandoned; }
  // Blocks: until no thread works, at most until then. True: none does.
  bool WaitIdle(Instant by) const { return threads_.WaitIdle(by); }

 private:
  struct Answers;  // the way back
  struct Waiting {
    Instant by;
    OffloadThreads::Done done;
    std::shared_ptr<OffloadThreads::Item> item;  // null: it was refused
  };

  void Enqueue(Instant by, OffloadThreads::Work work, OffloadThreads::Done done);
  void Abandon(const Waiting& waiting);
  void Answer(uint64_t id, const std::optional<Error>& error);

  const std::shared_ptr<Answers> answers_;
  OffloadThreads threads_;
  std::map<uint64_t, Waiting> waiting_;  // by number, in the order of Begin
  uint64_t last_ = 0;
};

}  // namespace lastcall
