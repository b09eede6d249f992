// A reload that another build takes over, and what has become of it, for those who come to ask.
#pragma once

#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "daemon/reload/report.h"

namespace lastcall {

// Threads: the loop's.
class ContinuedReload {
 public:
  // 0: there is none.
  uint64_t number() const { return number_; }
  void Begin(uint64_t number) { *this = ContinuedReload(number); }

  // `done` comes when it is over, at once if it is. Fails: kNotFound, it is another.
  void Ask(uint64_t number, ReloadDone done) {
    if (number != number_) {
      return done(Fail(Code::kNotFound, "nothing is known of that reload; ask for one"));
    }
    if (outcome_) return done(*outcome_);
    asking_.push_back(std::move(done));
  }
  void Settle(const Result<ReloadReport>& outcome) {
    outcome_ = outcome;
    for (const ReloadDone& done : std::exchange(asking_, {})) done(outcome);
  }

  ContinuedReload() = default;

 private:
  explicit ContinuedReload(uint64_t number) : number_(number) {}

  uint64_t number_ = 0;
  std::optional<Result<ReloadReport>> outcome_;
  std::vector<ReloadDone> asking_;
};

}  // namespace lastcall
