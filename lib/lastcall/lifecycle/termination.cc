#include "lastcall/lifecycle/termination.h"

#include <array>
#include <atomic>
#include <utility>
#include <vector>

#include "lastcall/event/latch.h"
#include "lastcall/event/notices.h"

namespace lastcall {

struct Termination::State {
  struct OneStage {
    // Brings the instant forward. Whoever reads it may rely on it: it never moves back.
    void Plan(Instant planned) {
      Instant known = instant.load(std::memory_order_relaxed);
      while (!latch.IsSet() && planned < known &&
             !instant.compare_exchange_weak(known, planned, std::memory_order_acq_rel)) {
      }
    }

    Latch latch;
    std::stop_source stop;
    Notices reached;
    std::atomic<Instant> instant{kNever};
    Notices moved;
    // Of the host's thread: what callbacks have been told.
    bool told_reached = false;
    Instant told_instant = kNever;
  };
  std::array<OneStage, kStages.size()> stages;

  OneStage& at(Stage stage) { return stages[static_cast<size_t>(stage)]; }
};

Termination::Termination() : Termination(TerminationSource().view()) {}

bool Termination::WaitFor(Stage stage, Duration length) const {
  return WaitUntil(stage, After(std::chrono::steady_clock::now(), length));
}

bool Termination::WaitUntil(Stage stage, Instant instant) const {
  return state_->at(stage).latch.WaitUntil(instant);
}

bool Termination::Reached(Stage stage) const { return state_->at(stage).latch.IsSet(); }

int Termination::fd(Stage stage) const { return state_->at(stage).latch.fd(); }

std::stop_token Termination::stop_token(Stage stage) const {
  const auto& one = state_->at(stage);
  if (one.stop.stop_requested() || !one.latch.IsSet()) return one.stop.get_token();
  // Reached, and the host's thread is about to say so to the tokens that are out already.
  std::stop_source stopped;
  stopped.request_stop();
  return stopped.get_token();
}

Subscription Termination::OnReached(Stage stage, Callback callback) const {
  return OnReached(stage, nullptr, std::move(callback));
}

Subscription Termination::OnReached(Stage stage, Executor executor, Callback callback) const {
  auto& one = state_->at(stage);
  // The latch comes first, and those who are told next are those who were there before it.
  if (one.latch.IsSet()) return Notices::Late(std::move(executor), std::move(callback));
  return one.reached.Subscribe(std::move(executor), std::move(callback));
}

Instant Termination::instant(Stage stage) const {
  return state_->at(stage).instant.load(std::memory_order_acquire);
}

Subscription Termination::OnMoved(Stage stage, Callback callback) const {
  return OnMoved(stage, nullptr, std::move(callback));
}

Subscription Termination::OnMoved(Stage stage, Executor executor, Callback callback) const {
  return state_->at(stage).moved.Subscribe(std::move(executor), std::move(callback));
}

TerminationSource::TerminationSource() : state_(std::make_shared<Termination::State>()) {
  Reach(Stage::kServing, kNever);
}

void TerminationSource::SetPlan(const Plan& plan) {
  for (const Stage stage : {Stage::kGrace, Stage::kCancel, Stage::kStopped}) {
    auto& one = state_->at(stage);
    one.Plan(plan.BeginOf(stage));
    const Instant instant = one.instant.load(std::memory_order_relaxed);
    if (instant < std::exchange(one.told_instant, instant)) one.moved.Notify();
  }
}

void TerminationSource::Reach(Stage stage, Instant now) {
  // A callback may drop the last other owner.
  const auto state = state_;
  std::vector<Termination::State::OneStage*> reached;
  for (const Stage each : kStages) {
    auto& one = state->at(each);
    if (each > stage || std::exchange(one.told_reached, true)) continue;
    one.Plan(now);
    one.latch.Set();
    one.told_instant = one.instant.load(std::memory_order_relaxed);
    reached.push_back(&one);
  }
  for (auto* one : reached) {
    one->stop.request_stop();
    one->reached.NotifyLast();
    one->moved.Notify();
  }
}

void TerminationSource::Announce(Stage stage, const Plan& plan, Instant now) {
  const auto state = state_;  // as in Reach
  for (const Stage later : {Stage::kGrace, Stage::kCancel, Stage::kStopped}) {
    state->at(later).Plan(plan.BeginOf(later));
  }
  state->at(stage).Plan(now);
  state->at(stage).latch.Set();
  state->at(stage).reached.NotifyExecutors();
}

}  // namespace lastcall
