// The report of one shutdown: who asked, how long each stage took, what was cancelled, what was stuck.
// Made once, when it is over; written as JSON to state_dir, to the log and to whoever waited.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <lastcall/base/clock.h>
#include <lastcall/base/exit_code.h>
#include <lastcall/lifecycle/plan.h>
#include <lastcall/lifecycle/stage.h>

namespace lastcall {

struct StageRecord {
  Stage stage = Stage::kStopped;
  Duration planned = Duration::zero();  // when it began; kForever: without end
  Duration took = Duration::zero();
  Event ended_by = Event::kDeadlinePassed;
};

// A call that was in flight when the cancel stage began.
struct CancelledCall {
  std::string server;
  std::string method;  // "/package.Service/Method"
  std::string peer;    // gRPC's URI of the client
  Duration age = Duration::zero();
  bool told = false;  // it was told to leave first
};

// What had not returned at the last instant: a handler, a plugin, a part of a program.
struct Stuck {
  enum class What : uint8_t { kCall, kPlugin, kPart };
  What what = What::kCall;
  std::string name;
  Duration age = Duration::zero();
  std::vector<std::string> stack;  // innermost first; empty: it has no thread of its own
};

std::string_view Name(Stuck::What what);

struct Receipt {
  // More cancelled calls than these are counted, not listed.
  static constexpr size_t kMaxListed = 1000;

  std::string subject;  // "lastcalld", or a process
  pid_t pid = 0;
  uint32_t incarnation = 0;
  int exit_code = kExitAllFinished;  // see base/exit_code.h
  WallTime began{};
  Duration took = Duration::zero();
  std::vector<Ledger::Entry> requests;
  uint64_t requests_left_out = 0;  // see Ledger::left_out
  std::vector<StageRecord> stages;
  uint64_t calls_finished = 0;  // between the first request and the end
  uint64_t calls_cancelled = 0;
  std::vector<CancelledCall> cancelled;
  std::vector<Stuck> stuck;
  std::string failure;  // how the process ended when it was not by itself: "killed by SIGSEGV"
  std::vector<Receipt> processes;

  // For people: "stopped in 1.2s, every call finished".
  std::string Outcome() const;
  // One line of JSON: {"api_version":"lastcall/v1","kind":"Receipt",…}. Seconds end in _s.
  std::string ToJson() const;
};

}  // namespace lastcall
