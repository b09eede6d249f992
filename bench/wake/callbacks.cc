#include <memory>
#include <stop_token>
#include <vector>

#include "event.h"
#include "waiters.h"

namespace wake {
namespace {

// Counts callbacks down; the last one notes when it ran.
class Countdown {
 public:
  explicit Countdown(int count) : left_(count) {}
  void Run() {
    if (--left_ > 0) return;
    last_ = Now();
    all_.Set();
  }
  lastcall::Instant WaitForLast() {
    all_.Wait();
    return last_;
  }

 private:
  int left_;
  lastcall::Instant last_{};
  Word all_;
};

class OurCallbacks final : public Waiters {
 public:
  OurCallbacks(int count, From from) : countdown_(count), event_(from) {
    for (int i = 0; i < count; ++i) {
      subscriptions_.push_back(
          event_.view().OnReached(lastcall::Stage::kDelay, [this] { countdown_.Run(); }));
    }
    usleep(3000);
  }
  void Trigger() override { event_.Trigger(); }
  lastcall::Instant WaitForLast() override { return countdown_.WaitForLast(); }

 private:
  Countdown countdown_;
  OurEvent event_;
  std::vector<lastcall::Subscription> subscriptions_;
};

// A thread that sleeps at a futex and tells a std::stop_source when it wakes: the standard
// library's callbacks, which can be taken back at any moment as ours can.
class BareCallbacks final : public Waiters {
 public:
  BareCallbacks(int count, From from) : countdown_(count), event_(from, [this] { word_.Set(); }) {
    for (int i = 0; i < count; ++i) {
      callbacks_.push_back(std::make_unique<Registered>(
          source_.get_token(), std::function<void()>([this] { countdown_.Run(); })));
    }
    thread_ = std::thread([this] {
      word_.Wait();
      source_.request_stop();
    });
    usleep(3000);
  }
  ~BareCallbacks() override { thread_.join(); }
  void Trigger() override { event_.Trigger(); }
  lastcall::Instant WaitForLast() override { return countdown_.WaitForLast(); }

 private:
  using Registered = std::stop_callback<std::function<void()>>;

  Countdown countdown_;
  Word word_;
  BareEvent event_;
  std::stop_source source_;
  std::vector<std::unique_ptr<Registered>> callbacks_;
  std::thread thread_;
};

}  // namespace

Scenario Callbacks(int count, From from) {
  return {"callbacks", count, from, [=] { return std::make_unique<OurCallbacks>(count, from); },
          [=] { return std::make_unique<BareCallbacks>(count, from); }};
}

}  // namespace wake
