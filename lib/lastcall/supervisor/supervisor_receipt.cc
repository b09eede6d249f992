// What the supervisor reports at the end: the receipts of its processes, and what they could not know.
#include <unistd.h>

#include <algorithm>
#include <iterator>
#include <utility>

#include "lastcall/supervisor/supervisor.h"

namespace lastcall {
namespace {

// The exit codes of the contract for a daemon that could not start.

}  // namespace

// A process has ended that was to end. Its receipt is its own, if it wrote one, and what it could
// not know of its end.
void Supervisor::Ended(const Member& member, Incarnation& incarnation, const ExitStatus& status) {
  const bool silent = !incarnation.receipt;
  if (silent) {
    incarnation.receipt = Receipt{.subject = member.spec.name, .incarnation = incarnation.number};
  }
  Receipt& receipt = *incarnation.receipt;
  // One that had ended already was not killed, though it was tried: this process may have been stopped
  // for a while, and hear of the end late.
  if (incarnation.killed && status.signal == SIGKILL) {
    receipt.exit_code = kExitForced;
    receipt.failure = "did not end in time and was killed";
  } else if (status.signal != 0 || (silent && status.code != 0)) {
    receipt.failure = incarnation.start_error.empty()
                          ? Describe(status)
                          : "could not start: " + incarnation.start_error;
    // Its calls died with it, if it ever took any.
    const bool had_calls = silent && incarnation.accepting_since != kNever;
    if (had_calls) receipt.exit_code = kExitCallsCancelled;
  }
}

void Supervisor::Finish() {
  if (std::exchange(finished_, true)) return;
  observer_.Finished(MakeReceipt());
}

// The report of one incarnation goes into the daemon's.
void Supervisor::AddTo(Receipt& receipt, const std::string& name, Incarnation& incarnation) {
  if (incarnation.phase != Phase::kDown) {
    if (!incarnation.receipt)
      incarnation.receipt = Receipt{.subject = name, .incarnation = incarnation.number};
    incarnation.receipt->exit_code = kExitForced;
    incarnation.receipt->failure = "was killed and is not gone yet";
  }
  if (!incarnation.receipt) return;
  Receipt& one = *incarnation.receipt;
  receipt.calls_finished += one.calls_finished;
  receipt.calls_cancelled += one.calls_cancelled;
  // The lists go up: one place to look at for the whole daemon.
  std::move(one.cancelled.begin(), one.cancelled.end(), std::back_inserter(receipt.cancelled));
  std::move(one.stuck.begin(), one.stuck.end(), std::back_inserter(receipt.stuck));
  one.cancelled.clear();
  one.stuck.clear();
  if (!one.failure.empty() && receipt.failure.empty()) {
    receipt.failure = "process " + one.subject + " " + one.failure;
  }
  // The codes of a process that could not start (again) say nothing of its calls.
  if (one.exit_code <= kExitForced) receipt.exit_code = std::max(receipt.exit_code, one.exit_code);
  receipt.processes.push_back(std::move(one));
}

Receipt Supervisor::MakeReceipt() {
  Receipt receipt{.subject = "lastcalld", .pid = getpid(), .began = began_};
  receipt.took = clock_.Now() - first_request_;
  receipt.requests = lifecycle_.ledger().entries();
  receipt.requests_left_out = lifecycle_.ledger().left_out();
  receipt.stages = lifecycle_.records();
  for (Member& member : members_) {
    ForEachIncarnation(
        member, [&](Incarnation& incarnation) { AddTo(receipt, member.spec.name, incarnation); });
  }
  if (start_error_) {
    receipt.failure = start_error_->message;
    receipt.exit_code =
        start_error_->code == Code::kInvalidArgument ? kExitBadConfiguration : kExitInternal;
  }
  return receipt;
}

}  // namespace lastcall
