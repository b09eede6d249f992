// The processes of a member that do nothing but remember what they were told; the test says what
// comes of it.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
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

  // Where this incarnation tells what comes of it. Order: once it has begun to start.
  ProcessEvents& events(uint32_t incarnation) { return *events_.at(incarnation); }
  ProcessEvents& events() { return events(incarnation_); }
  bool has_begun(uint32_t incarnation) const { return events_.contains(incarnation); }

  // What they were told since the last time somebody asked, in order: "start 2", "accept",
  // "pause", "drain public", "undrain public", "stop", "retire", "kill", "resume 2", "log debug",
  // "dump", "query". One that is not the latest
  // says who it is: "retire (1)".
  std::vector<std::string> TakeTold() { return std::exchange(told_, {}); }

  // Of the last start; 0: none yet.
  uint32_t incarnation() const { return incarnation_; }
  // Of the last stop or retirement.
  const Plan& plan() const { return plan_; }
  const std::vector<Ledger::Entry>& requests() const { return requests_; }

  // What all of them say of themselves.
  std::vector<ServerView> servers;
  std::set<std::string> addresses;
  bool answers = true;                       // queries, at once
  std::vector<std::function<void()>> asked;  // the others: who is to hear the answer
  bool drains = true;
  CallSource* source = nullptr;  // of all of them; null: nobody sees into them

 private:
  class Incarnation;

  std::vector<std::string> told_;
  std::map<uint32_t, std::shared_ptr<ProcessEvents>> events_;
  uint32_t incarnation_ = 0;
  Plan plan_;
  std::vector<Ledger::Entry> requests_;
};

}  // namespace lastcall
