// Prober: gives the canaries of a process their turns, in one thread: each every Canary::kPeriod, or less often
// where there are very many, so that all together never cost more than kMost do.
//
// While a probe is not answered, gRPC may have no thread left that polls: those of its callback API are the
// pollers of their process, and handlers may hold all of them. So the prober then polls for them, until one is
// answered soon: clients can be told to leave, and whoever asks for the health is answered, however slow or frozen
// the process is.
#pragma once

#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <stop_token>
#include <thread>

#include <lastcall/base/clock.h>
#include <lastcall/rpc/canary.h>

namespace grpc {
class CompletionQueue;
}

namespace lastcall {

// Threads: any.
class Prober {
 public:
  explicit Prober(const Clock& clock);
  // Order: after the last canary was removed.
  ~Prober();

  // Fails: throws std::system_error where no thread can be made.
  void Add(Canary& canary);
  // Blocks: until the turn that is in progress is over. The canary has none afterwards.
  void Remove(Canary& canary);

  // So many have a turn in each Canary::kPeriod.
  static constexpr size_t kMost = 50;

  // From one turn of a canary to its next, where there are so many.
  static Duration PeriodOf(size_t canaries);
  // How long after its addition the first turn of a canary is, by how many came before it: any number of
  // them are spread over the period.
  static Duration PhaseOf(size_t number);

 private:
  void Run(const std::stop_token& end);
  // Sleeps until then, or until there is something to do before. Order: mutex_ is held, but for the while.
  void Wait(std::unique_lock<std::mutex>& lock, const std::stop_token& end, Instant due);
  void TakeTurn(Instant due, Canary& canary);
  // Whether it was answered soon, for those of whom it is time to know.
  void JudgeAnswers();

  const Clock& clock_;
  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::multimap<Instant, Canary*> turns_;
  std::multimap<Instant, Canary*> answers_;  // when it is time to know
  std::set<Canary*> slow_;                   // that were not answered soon
  // Nothing ever happens in it. Made when it is needed.
  std::unique_ptr<grpc::CompletionQueue> polled_;
  size_t added_ = 0;
  std::jthread thread_;  // last: it uses the others; made when there is somebody to probe
};

}  // namespace lastcall
