#include "lastcall/program/stage_loop.h"

#include <unistd.h>

#include <algorithm>
#include <exception>
#include <thread>
#include <utility>

#include "lastcall/base/safe_text.h"

namespace lastcall {
namespace {

// How long the last words of a process that is ended by force may take: stacks, receipt, log.
constexpr Duration kLastWords = std::chrono::seconds(1);

}  // namespace

StageLoop::StageLoop(Options options, const Clock& clock, StagePart& part)
    : options_(std::move(options)),
      clock_(clock),
      part_(part),
      log_(LogQueue::Before(options_.log)),
      lifecycle_(options_.shutdown, clock_.Now()) {
  receipt_.subject = options_.name;
  receipt_.pid = getpid();
  receipt_.incarnation = options_.incarnation;
}

StageLoop::~StageLoop() {
  // A log that has not returned by the plan's end is like anything else that has not.
  const bool asked = !lifecycle_.ledger().empty();
  if (log_.Release(asked ? lifecycle_.plan().end : kNever)) return;
  if (options_.exit_when_forced) _exit(kExitForced);
  log_.Release(kNever);
}

void StageLoop::Announce(const Request& request) {
  const Budget lengths = FixLengths();
  if (stage_.load(std::memory_order_acquire) != Stage::kServing || request.skip) return;
  const Plan plan = Resolve(request, lengths, Stage::kServing);
  part_.FirstRequest();
  termination_.Announce(Stage::kDelay, plan, request.at);
  // They run before this thread goes on to wake the loop, should they be queued behind it.
  std::this_thread::yield();
}

void StageLoop::Configure(std::optional<Duration> delay, std::optional<Duration> grace,
                          std::optional<Duration> cancel) {
  std::lock_guard lock(lengths_mutex_);
  if (lengths_fixed_) return;
  lengths_ = {delay.value_or(lengths_.delay), grace.value_or(lengths_.grace),
              cancel.value_or(lengths_.cancel)};
}

// Threads: any. The lengths of every request, from the first on. Whoever is first, a thread that
// announces it or the loop, fixes them for both: what is announced must be certain.
Budget StageLoop::FixLengths() {
  std::lock_guard lock(lengths_mutex_);
  lengths_fixed_ = true;
  return lengths_;
}

void StageLoop::Step() {
  // What has happened is heard before the clock: after a pause of the process both are due.
  const Instant next = std::min({lifecycle_.next_instant(), QuietAt(), part_.due()});
  const auto event = inbox_.TakeUntil(next);
  Run(event ? *event : [this] { OnClock(); });
  Run([this] { LookAtPart(); });
}

void StageLoop::OnClock() {
  const Instant now = clock_.Now();
  if (part_.due() <= now) part_.OnDue();
  if (QuietAt() <= now) Apply(lifecycle_.Happened(Event::kWentQuiet, now));
  Apply(lifecycle_.Advance(now));
}

// An exception ends what it concerns. The stages go on, and their instants hold whatever was missed.
void StageLoop::Run(const std::function<void()>& event) {
  try {
    event();
  } catch (const std::exception& error) {
    Say(LogLevel::kError, "internal error: " + SafeText(error.what()) + "; the process goes on");
  }
}

void StageLoop::LookAtPart() {
  if (stage() == Stage::kGrace && part_.idle()) {
    Apply(lifecycle_.Happened(Event::kWentIdle, clock_.Now()));
  }
  if (stage() == Stage::kCancel && part_.done()) {
    Apply(lifecycle_.Happened(Event::kCompleted, clock_.Now()));
  }
}

Instant StageLoop::QuietAt() const {
  if (!options_.quiet || stage() != Stage::kDelay) return kNever;
  return After(std::max(lifecycle_.stage_began(), part_.last_began()), *options_.quiet);
}

void StageLoop::OnReady() { Apply(lifecycle_.Happened(Event::kBecameReady, clock_.Now())); }

void StageLoop::OnSignal(const ReceivedSignal& signal) {
  const SignalAction action = signal_table_.Decide(signal, stage());
  switch (action) {
    case SignalAction::kDump: return part_.Dump();
    case SignalAction::kReload:
      if (signal.handled) return;  // there is somebody to reload
      return Say(LogLevel::kWarning, "SIGHUP: this process has no configuration to reload");
    case SignalAction::kRefuseReload:
      return Say(LogLevel::kWarning, "SIGHUP: refused, for a shutdown is in progress");
    default: return OnRequest(RequestOf(signal, action));
  }
}

void StageLoop::OnRequest(Request request) {
  const std::string who = Describe(request.cause);
  if (stage() == Stage::kStopped) {
    part_.Requested(request, lifecycle_.plan());
    return Say(LogLevel::kInfo, "stop requested by " + who + "; it has stopped already");
  }
  FirstRequest();
  bool moved = false;
  const auto changes = lifecycle_.RequestStop(request, clock_.Now(), &moved);
  part_.Requested(request, lifecycle_.plan());
  Say(LogLevel::kInfo, "stop requested by " + who + (moved ? "" : "; schedule unchanged"));
  Apply(changes);
}

void StageLoop::OnAdopt(const Plan& plan, std::vector<Ledger::Entry> entries) {
  if (stage() == Stage::kStopped) return;
  FirstRequest();
  Apply(lifecycle_.Adopt(plan, std::move(entries), clock_.Now()));
}

void StageLoop::FirstRequest() {
  if (!lifecycle_.ledger().empty()) return;
  lifecycle_.Configure(FixLengths());
  receipt_.began = clock_.Wall();
  part_.FirstRequest();
}

void StageLoop::OnEnd() {
  if (stage() == Stage::kStopped) return;
  FirstRequest();
  if (stage() < Stage::kCancel) {
    part_.Entering({stage(), Stage::kCancel, Event::kFailed, clock_.Now()});
  }
  Apply(lifecycle_.Happened(Event::kFailed, clock_.Now()));
}

void StageLoop::Apply(const Lifecycle::Changes& changes) {
  for (const Lifecycle::Change& change : changes) Enter(change);
  termination_.SetPlan(lifecycle_.plan());
}

void StageLoop::Enter(const Lifecycle::Change& change) {
  stage_.store(change.entered, std::memory_order_release);
  Say(LogLevel::kDebug, "stage " + std::string(Name(change.entered)));
  part_.Entering(change);
  termination_.SetPlan(lifecycle_.plan());
  // First, so that whoever is woken finds the receipt.
  if (change.entered == Stage::kStopped) EnterStopped();
  if (IsStopping(change.entered)) termination_.Reach(change.entered, change.at);
  part_.Entered(change);
}

void StageLoop::EnterStopped() {
  const bool ran_out = lifecycle_.ran_out();
  // First of all: whatever is asked or told from here on may hang.
  if (ran_out && options_.exit_when_forced) {
    end_in_time_.Arm(After(clock_.Now(), kLastWords), kExitForced);
  }
  part_.AddTo(receipt_, ran_out);
  lifecycle_.Complete(receipt_);
  part_.Finished(receipt_);
  Say(receipt_.exit_code == 0 ? LogLevel::kInfo : LogLevel::kWarning, receipt_.Outcome());
  if (receipt_.exit_code != kExitForced) return end_in_time_.Disarm();
  Say(LogLevel::kWarning, receipt_.ToJson());
  if (!options_.exit_when_forced) return;
  // Somebody does not return: nothing may be destroyed under his feet.
  log_.Flush();
  _exit(kExitForced);
}

}  // namespace lastcall
