// Termination: what any thread may know of the end of an incarnation, and wait for.
//
//   lastcall::Termination termination = host.termination();
//   while (!termination.WaitFor(lastcall::Stage::kDelay, 1s)) DoSomeWork();
#pragma once

#include <memory>
#include <utility>

#include <lastcall/base/clock.h>
#include <lastcall/lifecycle/plan.h>
#include <lastcall/lifecycle/stage.h>

namespace lastcall {

// A cheap copyable view; nobody can set or clear anything through it. One event for each stage from
// delay on: reached once, never taken back. Stages that are jumped over are reached too, in order.
// Threads: any, for every method; any number may wait, at no cost. A view and its descriptors stay
// valid for as long as one copy lives, also after the host has gone. What the host wrote before a
// stage began is visible to whoever saw it reached.
class Termination {
 public:
  // Of nothing: no stage is ever reached.
  Termination();

  // Blocks: until the stage is reached. `stage` is delay, grace, cancel or stopped, here and below;
  // starting and serving count as reached.
  void Wait(Stage stage = Stage::kStopped) const { WaitUntil(stage, kNever); }
  // Blocks: until reached (true) or the time is over (false).
  bool WaitFor(Stage stage, Duration length) const;
  bool WaitUntil(Stage stage, Instant instant) const;

  bool Reached(Stage stage) const;
  // Readable for ever once the stage is reached; see Latch::fd.
  int fd(Stage stage) const;
  // When the stage begins as planned now, or when it began; kNever while nobody asked. It can only
  // move forward.
  Instant instant(Stage stage) const;

 private:
  friend class TerminationSource;
  struct State;
  explicit Termination(std::shared_ptr<State> state) : state_(std::move(state)) {}

  std::shared_ptr<State> state_;
};

// The host's side of it.
// Threads: one at a time.
class TerminationSource {
 public:
  TerminationSource();

  void SetPlan(const Plan& plan);
  // Reaches `stage` and every one before it.
  void Reach(Stage stage, Instant now);
  Termination view() const { return Termination(state_); }

 private:
  std::shared_ptr<Termination::State> state_;
};

}  // namespace lastcall
