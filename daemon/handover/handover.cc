#include "daemon/handover/handover.h"

#include <utility>

namespace lastcall {

Handover::Handover(Supervisor& supervisor, HandoverEffects& effects, Executor loop,
                   const Clock& clock, Log log, Stamped stamp)
    : supervisor_(supervisor),
      effects_(effects),
      loop_(std::move(loop)),
      clock_(clock),
      log_(std::move(log)),
      stamp_of_(std::move(stamp)) {}

void Handover::Begin(UniqueFd binary, const Cause& by, const std::string& program) {
  step_ = Step::kChecking;
  by_ = by;
  program_ = program;
  binary_ = std::move(binary);
  stamp_ = stamp_of_(binary_.get());
  log_(LogLevel::kInfo, program_ + ": new binary found; verifying");
  effects_.BeginCheck(binary_.get(),
                      [this](const Result<>& passed) { passed ? Leave() : End(passed.error()); });
}

void Handover::Abort(const Error& why) {
  if (step_ != Step::kChecking) return;
  effects_.EndCheck();
  End(why);
}

// Behind the changes that are in progress.
void Handover::Leave() {
  step_ = Step::kWaiting;
  if (const auto serving = supervisor_.CheckServing(); !serving) return End(serving.error());
  if (supervisor_.changing()) {
    // It is none itself.
    (void)supervisor_.BeginChanges({}, by_, [this](const std::vector<Supervisor::Outcome>&) {
      loop_([this] {
        if (step_ == Step::kWaiting) Leave();
      });
    });
    return;
  }
  step_ = Step::kLeaving;
  number_ = static_cast<uint64_t>(clock_.Now().time_since_epoch().count());
  effects_.BeginLeave(number_, [this] { Execute(); });
}

void Handover::Execute() {
  // Their answers are on the way, and nothing new is begun; but in a stop, which brings it back anyway.
  if (supervisor_.CheckServing() && !effects_.HasLeft()) return loop_([this] { Execute(); });
  effects_.Quiesce();
  if (const auto serving = supervisor_.CheckServing(); !serving) return End(serving.error());
  // The kernel lets nobody write to a program while it runs, but to one that has ended.
  Error error{Code::kAborted, program_ +
                                  " was overwritten after it had proved itself; "
                                  "install it by rename"};
  if (stamp_of_(binary_.get()) == stamp_) error = effects_.Execute(binary_.get());
  log_(LogLevel::kError, error.message + "; this build goes on");
  End(error);
}

void Handover::End(const Error& why) {
  const bool left = std::exchange(step_, Step::kNone) == Step::kLeaving;
  binary_ = UniqueFd();
  effects_.GoOn(why, left);
}

}  // namespace lastcall
