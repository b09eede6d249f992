// A process as the supervisor sees it: one incarnation, that is started once, told, and killed.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <lastcall/lifecycle/plan.h>

namespace lastcall {

// Nothing here blocks: what comes of it is told to the supervisor (On… of supervisor.h).
class Process {
 public:
  virtual ~Process() = default;

  // Answered by OnReady, OnStartFailed or OnExited.
  virtual void BeginStart() = 0;
  // Lets it take connections, or stops it. Order: after OnReady.
  virtual void Accept(bool accept) = 0;
  virtual void SetDraining(const std::string& server, bool draining) = 0;
  // The plan in force and the requests that it comes from; again when an instant moves forward.
  // Answered by OnExited, when it is over.
  virtual void BeginStop(const Plan& plan, const std::vector<Ledger::Entry>& requests) = 0;
  // The same for one whose successor has taken over.
  virtual void BeginRetire(const Plan& plan, const std::vector<Ledger::Entry>& requests) = 0;
  // Ends it at once. Answered by OnExited.
  virtual void Kill() = 0;
};

// How a process ended.
struct ExitStatus {
  int code = 0;                 // when it ended by itself
  int signal = 0;               // when a signal ended it; 0: none did
  std::string misconduct = {};  // what it was killed for

  bool clean() const { return signal == 0 && code == 0; }
};

// "exit code 1", "killed by SIGSEGV", "killed by lastcalld: it sent a malformed message".
std::string Describe(const ExitStatus& status);

}  // namespace lastcall
