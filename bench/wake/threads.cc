#include <algorithm>
#include <vector>

#include "event.h"
#include "waiters.h"

namespace wake {

// Threads sleep at `begin_` between the rounds, then wait as they are told.
class Pool {
 public:
  explicit Pool(int threads) : awake_(static_cast<size_t>(threads)) {
    for (int i = 0; i < threads; ++i) threads_.emplace_back([this, i] { Work(i); });
  }
  ~Pool() {
    wait_ = nullptr;
    Begin();
    for (std::thread& thread : threads_) thread.join();
  }

  // Returns when every thread is about to sleep in `wait`.
  void Start(std::function<void()> wait) {
    wait_ = std::move(wait);
    arrived_ = 0;
    left_ = static_cast<int>(threads_.size());
    all_awake_.emplace();
    Begin();
    while (arrived_ < static_cast<int>(threads_.size())) usleep(100);
    usleep(2000 + 20 * threads_.size());  // until all of them sleep
  }
  lastcall::Instant WaitForLast() {
    all_awake_->Wait();
    return *std::max_element(awake_.begin(), awake_.end());
  }

 private:
  void Begin() {
    ++round_;
    syscall(SYS_futex, &round_, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, INT_MAX, nullptr, nullptr, 0);
  }
  void Work(int index) {
    for (uint32_t seen = 0;; ++seen) {
      while (round_ == seen) {
        syscall(SYS_futex, &round_, FUTEX_WAIT | FUTEX_PRIVATE_FLAG, seen, nullptr, nullptr, 0);
      }
      if (!wait_) return;
      ++arrived_;
      wait_();
      awake_[static_cast<size_t>(index)] = Now();
      if (--left_ == 0) all_awake_->Set();
    }
  }

  std::atomic<uint32_t> round_{0};
  std::function<void()> wait_;
  std::atomic<int> arrived_{0}, left_{0};
  std::optional<Word> all_awake_;
  std::vector<lastcall::Instant> awake_;
  std::vector<std::thread> threads_;
};

std::shared_ptr<Pool> MakePool(int threads) { return std::make_shared<Pool>(threads); }

namespace {

class OurThreads final : public Waiters {
 public:
  OurThreads(Pool& pool, From from) : pool_(pool), event_(from) {
    pool.Start([view = event_.view()] { view.Wait(lastcall::Stage::kDelay); });
  }
  void Trigger() override { event_.Trigger(); }
  lastcall::Instant WaitForLast() override { return pool_.WaitForLast(); }

 private:
  Pool& pool_;
  OurEvent event_;
};

class BareThreads final : public Waiters {
 public:
  BareThreads(Pool& pool, From from) : pool_(pool), event_(from, [this] { word_.Set(); }) {
    pool.Start([this] { word_.Wait(); });
  }
  void Trigger() override { event_.Trigger(); }
  lastcall::Instant WaitForLast() override { return pool_.WaitForLast(); }

 private:
  Pool& pool_;
  Word word_;
  BareEvent event_;
};

}  // namespace

Scenario Threads(std::shared_ptr<Pool> pool, int count, From from) {
  return {count == 1 ? "thread" : "threads", count, from,
          [pool, from] { return std::make_unique<OurThreads>(*pool, from); },
          [pool, from] { return std::make_unique<BareThreads>(*pool, from); }};
}

}  // namespace wake
