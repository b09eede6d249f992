// The processes of a member that do nothing but remember what they were told; the test says what
// comes of it.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <lastcall/supervisor/process.h>

namespace lastcall {

// What the incarnations of one member are told, in one place.
class FakeProcess {
 public:
  // One more incarnation. The FakeProcess must outlive it.
  std::unique_ptr<Process> Make(uint32_t incarnation);

  // What they were told since the last time somebody asked, in order: "start 2", "accept",
  // "pause", "drain public", "undrain public", "stop", "retire", "kill". One that is not the latest
  // says who it is: "retire (1)".
  std::vector<std::string> TakeTold() { return std::exchange(told_, {}); }

  // Of the last start; 0: none yet.
  uint32_t incarnation() const { return incarnation_; }
  // Of the last stop or retirement.
  const Plan& plan() const { return plan_; }
  const std::vector<Ledger::Entry>& requests() const { return requests_; }

 private:
  class Incarnation;

  std::vector<std::string> told_;
  uint32_t incarnation_ = 0;
  Plan plan_;
  std::vector<Ledger::Entry> requests_;
};

}  // namespace lastcall
