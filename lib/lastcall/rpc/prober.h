// Prober: gives the canaries of a process their turns, each every Canary::kPeriod, in one thread.
#pragma once

#include <condition_variable>
#include <map>
#include <mutex>
#include <stop_token>
#include <thread>

#include <lastcall/base/clock.h>
#include <lastcall/rpc/canary.h>

namespace lastcall {

// Threads: any.
class Prober {
 public:
  explicit Prober(const Clock& clock) : clock_(clock) {}
  // Order: after the last canary was removed.
  ~Prober() = default;

  // Fails: throws std::system_error where no thread can be made.
  void Add(Canary& canary);
  // Blocks: until the turn that is in progress is over. The canary has none afterwards.
  void Remove(Canary& canary);

  // How long after its addition the first turn of a canary is, by how many came before it: any number of
  // them are spread over the period.
  static Duration PhaseOf(size_t number);

 private:
  void Run(const std::stop_token& end);

  const Clock& clock_;
  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::multimap<Instant, Canary*> turns_;
  size_t added_ = 0;
  std::jthread thread_;  // last: it uses the others; made when there is somebody to probe
};

}  // namespace lastcall
