// StallReports: which stalls are said, so that an operator can bear it. Pure.
#pragma once

#include <cstddef>
#include <deque>
#include <map>
#include <set>
#include <string>

#include <lastcall/base/clock.h>

namespace lastcall {

// A signature is what makes two stalls one for whoever reads of them: method, cause, and where.
class StallReports {
 public:
  static constexpr size_t kMostAMinute = 5;
  // Of signatures that are known; beyond, the one that was seen longest ago is forgotten.
  static constexpr size_t kMostKnown = 1000;

  // Whether a stall of so long is to be said now: one of a new signature, and of a known one only when
  // it has lasted twice as long as the one that was said last; few in a minute. What is not said is
  // counted.
  bool Says(const std::string& signature, Duration age, Instant now);
  // Whether it was said before.
  bool Knows(const std::string& signature) const { return known_.contains(signature); }
  // How many signatures were not said since this was asked last, because there were too many.
  size_t TakeSuppressed();

 private:
  struct Known {
    Duration said{};  // the age that was
    Instant seen{};
  };
  bool HasRoom(Instant now);
  void Forget();

  std::map<std::string, Known> known_;
  std::deque<Instant> said_;  // in the last minute
  std::set<std::string> suppressed_;
};

}  // namespace lastcall
