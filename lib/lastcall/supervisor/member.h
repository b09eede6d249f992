// Member: one process under supervision, as a state machine. It is told what happened by its
// incarnations (ProcessEvents), by the clock and by the supervisor, acts through Process, and tells
// its MemberOwner what came of it.
//
//   phase     ready     start failed  exited                    stop requested  its instant passed
//   starting  running   remembered    waiting, or down by       stopping        killed: not ready in time
//                                     policy; first start:
//                                     the daemon stops
//   running   -         -             waiting, or down by       stopping        -
//                                     policy
//   stopping  -         remembered    down                      told again      killed (when the plan ends)
//   waiting   -         -             -                         down            starting
//   down      -         -             -                         -               -
//
// At the first start nobody accepts before all are ready; later each does when it is.
//
// A replacement (replacement.cc):
//
//   step      successor ready        successor exited          old one exited      its instant passed
//   starting  takes over: settling   failed, nothing changed   takes over at once  killed: failed
//   settling  -                      old one accepts again:    done                old one retires: done
//                                    failed
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <lastcall/base/log.h>
#include <lastcall/base/result.h>
#include <lastcall/lifecycle/plan.h>
#include <lastcall/lifecycle/receipt.h>
#include <lastcall/supervisor/incarnation.h>
#include <lastcall/supervisor/member_owner.h>
#include <lastcall/supervisor/process_spec.h>

namespace lastcall {

// Threads: the loop's.
class Member {
 public:
  // What another supervisor knew of it, while nothing of it changed.
  struct Resumed {
    ProcessSpec spec;
    History history;
    Incarnation current;
    std::vector<Incarnation> retired;
    bool stays_down = false;
    bool removed = false;
  };
  Member(ProcessSpec spec, const MemberContext& context);
  // Goes on from there with Resume, instead of BeginStart.
  Member(Resumed resumed, const MemberContext& context);
  Member(const Member&) = delete;
  Member& operator=(const Member&) = delete;

  void BeginStart();
  void Resume();
  // It takes connections. Order: while running.
  void Accept() { Accept(current_); }
  void SetDraining(const std::string& server, bool draining);
  // For incarnations that begin from now on; ignored while it is being replaced.
  void SetSpec(ProcessSpec spec);

  // Changes, each answered with MemberOwner::ChangeIsOver. BeginAdd: instead of BeginStart.
  void BeginAdd();
  // `spec` without `make`: as it stays.
  void BeginReplace(const ProcessSpec& spec, const Cause& by);
  void Remove(const Cause& by);

  // The daemon stops: all incarnations do, by its plan.
  void BeginStop(const Ledger& ledger);
  void Kill();
  void OnTick(Instant now);
  Instant next_instant() const;

  // What is known of it.
  const ProcessSpec& spec() const { return spec_; }
  const Incarnation& current() const { return current_; }
  const std::optional<Successor>& successor() const { return successor_; }
  const std::vector<Incarnation>& retired() const { return retired_; }  // oldest first
  const History& history() const { return history_; }
  bool stays_down() const { return stays_down_; }  // by its restart policy
  bool removed() const { return removed_; }        // by a change; its incarnations end
  // Whether this incarnation is the current one, and frozen, and to be replaced for it.
  bool IsFrozen(uint32_t number) const;
  // Those of its incarnations, moved out.
  std::vector<Receipt> TakeReceipts();

 private:
  class Events;  // of one incarnation

  // What belongs to an incarnation that is over is ignored.
  void OnReady(uint32_t number);
  void OnStartFailed(uint32_t number, const Error& error);
  void OnStage(uint32_t number, Stage stage);
  void OnFrozen(uint32_t number, const std::string& why);
  void OnReceipt(uint32_t number, Receipt receipt);
  void OnExited(uint32_t number, const ExitStatus& status);

  void Begin(Incarnation& incarnation, const ProcessSpec& spec);
  void SetPhase(Incarnation& incarnation, Phase phase, Instant until = kNever);
  void Accept(Incarnation& incarnation);
  void Failed(const ExitStatus& status);
  void BeginRestart(const ExitStatus& status, Duration lived, const std::string& what);
  void TakeOver();
  void Promote();
  void SuccessorFailed(const std::string& why);
  std::string FrozenText(const Incarnation& incarnation) const;
  void JudgeFrozen(const Incarnation& incarnation);
  bool MayReplaceFrozen() const;
  void ReplaceFrozen();
  void Retire(const Cause& by, bool replaced);
  bool IsSuccessor(const Incarnation& incarnation) const;
  Incarnation* Find(uint32_t number);
  template <class F>
  void ForEach(F action);

  const MemberContext& context_;
  ProcessSpec spec_;
  History history_;
  Incarnation current_;
  std::optional<Successor> successor_;
  std::vector<Incarnation> retired_;
  Instant replace_frozen_ = kNever;  // when the current one is, being frozen
  bool stays_down_ = false;
  bool added_ = false;  // by a change that is still in progress
  bool removed_ = false;
};

// Every incarnation: those before, the current one, the one to come. Some are down.
template <class F>
void ForEachIncarnation(const Member& member, F action) {
  for (const Incarnation& retired : member.retired()) action(retired);
  action(member.current());
  if (member.successor()) action(static_cast<const Incarnation&>(*member.successor()));
}

}  // namespace lastcall
