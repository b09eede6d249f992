#include "lastcall/lifecycle/leave_turns.h"

#include <utility>

namespace lastcall {

LeaveTurns::LeaveTurns(const Clock& clock, Termination termination, LeaveSpread spread)
    : clock_(clock),
      termination_(std::move(termination)),
      spread_(spread),
      subscription_(termination_.OnMoved(Stage::kCancel, [this] {
        const std::lock_guard lock(mutex_);
        moved_ = true;
        changed_.notify_one();
      })) {}

bool LeaveTurns::AwaitBegin(const std::stop_token& end) { return Await(&LeaveSpread::from, end); }

bool LeaveTurns::AwaitNext(const std::stop_token& end) {
  if (!Await(&LeaveSpread::next, end)) return false;
  spread_.Told();
  return true;
}

bool LeaveTurns::Await(Instant (LeaveSpread::*due)() const, const std::stop_token& end) {
  std::unique_lock lock(mutex_);
  for (;;) {
    if (end.stop_requested()) return false;
    if (std::exchange(moved_, false)) {
      spread_.Move(clock_.Now(), termination_.instant(Stage::kCancel));
    }
    const Instant turn = (spread_.*due)();
    if (turn <= clock_.Now()) return true;
    changed_.wait_until(lock, end, turn, [this] { return moved_; });
  }
}

}  // namespace lastcall
