// A process that does nothing but remember what it was told; the test says what comes of it.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include <lastcall/supervisor/process.h>

namespace lastcall {

class FakeProcess final : public Process {
 public:
  void BeginStart(uint32_t incarnation) override;
  void Accept() override { told_.push_back("accept"); }
  void SetDraining(const std::string& server, bool draining) override;
  void BeginStop(const Plan& plan, const std::vector<Ledger::Entry>& requests) override;
  void Kill() override { told_.push_back("kill"); }

  // What it was told since the last time somebody asked, in order: "start 2", "accept",
  // "drain public", "undrain public", "stop", "kill".
  std::vector<std::string> TakeTold() { return std::exchange(told_, {}); }

  // Of the last start; 0: none yet.
  uint32_t incarnation() const { return incarnation_; }
  // Of the last stop.
  const Plan& plan() const { return plan_; }
  const std::vector<Ledger::Entry>& requests() const { return requests_; }

 private:
  std::vector<std::string> told_;
  uint32_t incarnation_ = 0;
  Plan plan_;
  std::vector<Ledger::Entry> requests_;
};

}  // namespace lastcall
