// Termination: what any thread may know of the end of an incarnation, and wait for.
//
//   lastcall::Termination termination = host.termination();
//   while (!termination.WaitFor(lastcall::Stage::kDelay, 1s)) DoSomeWork();
//   auto closing = termination.OnReached(lastcall::Stage::kGrace, [&] { queue.Close(); });
#pragma once

#include <memory>
#include <stop_token>
#include <utility>

#include <lastcall/base/clock.h>
#include <lastcall/event/subscription.h>
#include <lastcall/lifecycle/plan.h>
#include <lastcall/lifecycle/stage.h>

namespace lastcall {

// A cheap copyable view; nobody can set or clear anything through it. One event for each stage from
// delay on: reached once, never taken back. Stages that are jumped over are reached too, in order.
// `stage` is delay, grace, cancel or stopped everywhere; starting and serving count as reached.
//
// Threads: any, for every method. Any number may wait in any way; none costs CPU, a thread or a
// timer. The view may be destroyed whenever no call on it runs; what it gave away (descriptors,
// tokens) stays valid as long as one copy lives, also after the host has gone. Whoever saw a stage
// reached, in whichever way, sees what the host wrote before it began. Who waits by thread is woken
// first, then callbacks go to their executors; tokens and callbacks without an executor are last.
class Termination {
 public:
  // Of nothing: no stage is ever reached.
  Termination();

  // Blocks: until the stage is reached. Waiters: any number, at one futex.
  void Wait(Stage stage = Stage::kStopped) const { WaitUntil(stage, kNever); }
  // Blocks: until reached (true) or the time is over (false), as it is at once for lengths <= 0.
  bool WaitFor(Stage stage, Duration length) const;
  bool WaitUntil(Stage stage, Instant instant) const;

  bool Reached(Stage stage) const;

  // Readable forever once the stage is reached; see Latch::fd. Waiters: any number, in any number
  // of poll, epoll and event loops. Owns: the events do; close your own duplicates only. Take it
  // out of a loop before the last copy of the view goes.
  int fd(Stage stage) const;

  // Stops once the stage is reached; one that is taken later is stopped. Waiters: any number of
  // std::stop_callbacks, which run in the host's thread (or this one) and must not block; the token
  // may outlive everything.
  std::stop_token stop_token(Stage stage) const;

  // Calls `callback` once when the stage is reached; at once, before this returns, where it has
  // been. Without an executor it runs in the host's thread (or this one), where it must neither
  // block nor throw; with one it runs wherever that puts it, and the executor is called by whoever
  // requested the shutdown, or by the host. It may ask for shutdown, subscribe and unsubscribe. An
  // empty callback aborts. Waiters: any number. The subscription may be destroyed at any time, see
  // there.
  [[nodiscard]] Subscription OnReached(Stage stage, Callback callback) const;
  [[nodiscard]] Subscription OnReached(Stage stage, Executor executor, Callback callback) const;

  // When the stage begins as planned now; once reached, when it began, or should have where it
  // began late. kNever while nobody asked. It can only move forward.
  Instant instant(Stage stage) const;
  // Calls `callback` each time instant(stage) has moved, the last time when the stage is reached.
  // Moves that follow each other closely may be told once: read instant(stage) inside, and once
  // after subscribing. Otherwise as OnReached.
  [[nodiscard]] Subscription OnMoved(Stage stage, Callback callback) const;
  [[nodiscard]] Subscription OnMoved(Stage stage, Executor executor, Callback callback) const;

 private:
  friend class TerminationSource;
  struct State;
  explicit Termination(std::shared_ptr<State> state) : state_(std::move(state)) {}

  std::shared_ptr<State> state_;
};

// The host's side of it.
// Threads: one at a time, but for Announce.
class TerminationSource {
 public:
  TerminationSource();

  void SetPlan(const Plan& plan);
  // Reaches `stage` and every one before it.
  void Reach(Stage stage, Instant now);
  // Says early what Reach and SetPlan are certain to say: the stage is reached and has this plan.
  // Wakes threads and descriptors, and calls executors; tokens and the other callbacks that are
  // there are told by Reach and SetPlan, in the host's thread.
  // Threads: any.
  void Announce(Stage stage, const Plan& plan, Instant now);
  Termination view() const { return Termination(state_); }

 private:
  std::shared_ptr<Termination::State> state_;
};

}  // namespace lastcall
