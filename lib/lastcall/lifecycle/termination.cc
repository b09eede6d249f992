#include "lastcall/lifecycle/termination.h"

#include <algorithm>
#include <array>
#include <atomic>

#include "lastcall/event/latch.h"

namespace lastcall {

struct Termination::State {
  struct OneStage {
    Latch latch;
    std::atomic<Instant> instant{kNever};
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

Instant Termination::instant(Stage stage) const {
  return state_->at(stage).instant.load(std::memory_order_acquire);
}

TerminationSource::TerminationSource() : state_(std::make_shared<Termination::State>()) {
  for (const Stage stage : {Stage::kStarting, Stage::kServing}) state_->at(stage).latch.Set();
}

void TerminationSource::SetPlan(const Plan& plan) {
  for (const Stage stage : {Stage::kGrace, Stage::kCancel, Stage::kStopped}) {
    auto& one = state_->at(stage);
    if (one.latch.IsSet()) continue;
    // Whoever reads it may rely on it: it never moves back.
    const Instant sooner = std::min(one.instant.load(std::memory_order_relaxed), plan.BeginOf(stage));
    one.instant.store(sooner, std::memory_order_release);
  }
}

void TerminationSource::Reach(Stage stage, Instant now) {
  for (const Stage each : kStages) {
    if (each > stage) break;
    auto& one = state_->at(each);
    if (one.latch.IsSet()) continue;
    one.instant.store(now, std::memory_order_release);
    one.latch.Set();
  }
}

}  // namespace lastcall
