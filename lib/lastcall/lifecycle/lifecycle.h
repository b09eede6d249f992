// One life, from starting to stopped: the stage table, the ledger and the clock in one place.
// Pure: it is told what happened and when, and says which stages that led to.
#pragma once

#include <vector>

#include <lastcall/lifecycle/plan.h>
#include <lastcall/lifecycle/receipt.h>
#include <lastcall/lifecycle/stage.h>

namespace lastcall {

class Lifecycle {
 public:
  // One step from a stage to another.
  struct Change {
    Stage left;
    Stage entered;
    Event why;
    Instant at;
  };
  // The steps of one event in order; several when a stage on the way has no length.
  using Changes = std::vector<Change>;

  Lifecycle(Budget budget, Instant now) : ledger_(budget), stage_began_(now) {}

  // Other lengths for requests to come. Once there was one, they stay as they are.
  void Configure(Budget budget);
  Changes Happened(Event event, Instant now);
  // `moved`, where given: whether the request brought an instant forward.
  Changes RequestStop(Request request, Instant now, bool* moved = nullptr);
  // Takes over what another lifecycle (the supervisor's) has decided.
  Changes Adopt(const Plan& plan, std::vector<Ledger::Entry> entries, Instant now);
  // Ends the stages whose instants have passed.
  Changes Advance(Instant now);

  Stage stage() const { return stage_; }
  Instant stage_began() const { return stage_began_; }
  const Ledger& ledger() const { return ledger_; }
  const Plan& plan() const { return ledger_.plan(); }
  // When Advance has something to do; kNever: it waits for a event.
  Instant next_instant() const { return plan().EndOf(stage_); }
  // The stages of the shutdown that are over.
  const std::vector<StageRecord>& records() const { return records_; }
  // Whether the last stage ended by its instant: what has not returned is to be named. There may be
  // nothing of that kind: stages without length, and those that were overslept, end in one go
  // before anybody can say that they had nothing to do.
  bool ran_out() const;
  // Writes what it knows into the receipt: requests, stages, how long it took, and the exit code as
  // what is stuck and what was cancelled tell.
  // Order: after the receipt names both.
  void Complete(Receipt& receipt) const;

 private:
  void Enter(Stage next, Event why, Instant now, Changes& changes);
  void AdvanceInto(Instant now, Changes& changes);

  Ledger ledger_;
  Stage stage_ = Stage::kStarting;
  Instant stage_began_;
  Duration stage_planned_ = kForever;
  std::vector<StageRecord> records_;
};

}  // namespace lastcall
