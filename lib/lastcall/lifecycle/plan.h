// The plan of a shutdown and the ledger of requests that it comes from.
//
// A request at time t stands for three instants: grace begins at t + delay, cancel at that + grace,
// the end at that + cancel. The plan is the element-wise minimum over all of them: whoever asks later
// can bring an instant forward, never push it back, and nobody restarts a clock by asking twice.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include <lastcall/base/clock.h>
#include <lastcall/lifecycle/cause.h>
#include <lastcall/lifecycle/stage.h>

namespace lastcall {

// How long the stages may take. A length below zero is none, here and in requests.
struct Budget {
  Duration delay = Duration::zero();
  Duration grace = std::chrono::seconds(20);
  Duration cancel = std::chrono::seconds(5);

  Duration Total() const;
  friend bool operator==(const Budget&, const Budget&) = default;
};

struct Request {
  Cause cause = {};
  Instant at{};  // as it is made here: not said, which Timestamp fills in
  WallTime wall{};
  // What is left out is the configured length, or nothing where that stage is over already.
  std::optional<Duration> delay = {};
  std::optional<Duration> grace = {};
  std::optional<Duration> cancel = {};
  // Ends the stage that is current now; the lengths above are not used. Where none can be skipped,
  // for no one has requested a stop yet, it is a request like any other.
  bool skip = false;
};

// Asked at this moment, for the configured lengths.
Request RequestNow(Cause cause, const Clock& clock);
// A request that does not say when it was made was made at this moment.
void Timestamp(Request& request, const Clock& clock);

// When the stages begin. grace <= cancel <= end.
struct Plan {
  Instant grace = kNever;
  Instant cancel = kNever;
  Instant end = kNever;

  // The instant at which `stage` ends; kNever for starting, serving and stopped.
  Instant EndOf(Stage stage) const;
  // The instant at which `stage` begins; kNever for those that no plan governs.
  Instant BeginOf(Stage stage) const;
  friend bool operator==(const Plan&, const Plan&) = default;
};

Plan Minimum(const Plan& a, const Plan& b);

// What one request asks for, by itself, when it comes in `stage`.
Plan Resolve(const Request& request, const Budget& configured, Stage stage);

class Ledger {
 public:
  struct Entry {
    Request request;
    bool moved = false;  // it brought at least one instant forward
  };

  // Entries that are kept. Everybody is told all of them, so that somebody who asks in a loop must
  // not make them many: the first stays, and of the others those that moved the plan before those
  // that did not, and later ones before earlier ones.
  static constexpr size_t kMostEntries = 100;

  explicit Ledger(Budget configured) : configured_(configured) {}

  // Enters the request and merges it. True: the plan moved.
  bool Add(Request request, Stage stage);
  // Enters requests merged elsewhere (by the supervisor) together with the plan they led to.
  bool Adopt(const Plan& plan, std::vector<Entry> entries);
  // `stage` ended at `now`: when that is early, the instants after it keep their lengths from now on.
  void EndedEarly(Stage stage, Instant now);

  bool empty() const { return entries_.empty(); }
  const std::vector<Entry>& entries() const { return entries_; }
  // How many requests there were besides; the plan knows them all.
  uint64_t left_out() const { return left_out_; }
  const Plan& plan() const { return plan_; }
  const Budget& configured() const { return configured_; }

 private:
  Budget configured_;
  Plan plan_;
  std::vector<Entry> entries_;
  uint64_t left_out_ = 0;
};

}  // namespace lastcall
