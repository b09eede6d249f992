#include "lastcall/program/program.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <mutex>
#include <thread>
#include <utility>

#include "lastcall/base/log_queue.h"
#include "lastcall/base/safe_text.h"
#include "lastcall/event/end_in_time.h"
#include "lastcall/event/inbox.h"

namespace lastcall {
namespace {

constexpr auto kInFlight = Work::Kind::kInFlight;
constexpr auto kPart = Work::Kind::kPart;
constexpr auto kHold = Work::Kind::kHold;

// How long the last words of a process that is ended by force may take: stacks, receipt, log.
constexpr Duration kLastWords = std::chrono::seconds(1);

// More than these are not named in receipt and log.
constexpr size_t kMaxStuck = 100;

ProgramObserver& SilentObserver() {
  static ProgramObserver silent;  // has no state
  return silent;
}

}  // namespace

// Everything becomes an event in the inbox; one thread reads it, and it alone touches what is
// below. Methods named On… run there.
class Program::Loop {
 public:
  explicit Loop(ProgramOptions options)
      : options_(std::move(options)),
        observer_(options_.observer != nullptr ? *options_.observer : SilentObserver()),
        log_(LogQueue::Before(options_.log)),
        lifecycle_(options_.shutdown, clock_.Now()) {
    receipt_.subject = SafeText(options_.name, kMaxSafeName);
    receipt_.pid = getpid();
    if (options_.signals) ReadSignals(*options_.signals);
    thread_ = std::thread([this] { Read(); });
  }

  ~Loop() {
    signals_.reset();
    Post([this] { OnEnd(); });
    thread_.join();
    work_->Watch(nullptr);  // it may outlive this
    // A log that has not returned by the plan's end is like anything else that has not.
    const bool asked = !lifecycle_.ledger().empty();
    if (log_.Release(asked ? lifecycle_.plan().end : kNever)) return;
    if (options_.exit_when_forced) _exit(Receipt::kForced);
    log_.Release(kNever);
  }

  void Post(std::function<void()> event) { inbox_.Post(std::move(event)); }
  Termination termination() const { return termination_.view(); }
  // Any thread. While serving, every request leads to delay: whoever waits for that is woken from
  // here, not by way of the loop.
  void Announce(const Request& request) {
    const Budget lengths = FixLengths();
    if (stage_.load(std::memory_order_acquire) != Stage::kServing || request.skip) return;
    const Plan plan = Resolve(request, lengths, Stage::kServing);
    NoteFinished();
    termination_.Announce(Stage::kDelay, plan, request.at);
    // They run before this thread goes on to wake the loop, should they be queued behind it.
    std::this_thread::yield();
  }
  const Receipt& receipt() const { return receipt_; }
  const Clock& clock() const { return clock_; }
  WorkList& work() { return *work_; }
  void FlushLog() const { log_.Flush(); }

  // Any thread. At once, for a request that follows it closely.
  void Configure(std::optional<Duration> delay, std::optional<Duration> grace,
                 std::optional<Duration> cancel) {
    std::lock_guard lock(lengths_mutex_);
    if (lengths_fixed_) return;
    lengths_ = {delay.value_or(lengths_.delay), grace.value_or(lengths_.grace),
                cancel.value_or(lengths_.cancel)};
  }

  // Fails: kResourceExhausted, signals cannot be read.
  Result<> CheckSignals() const {
    if (!signals_ || signals_->reads()) return {};
    return Fail(Code::kResourceExhausted,
                "signals cannot be read, for the process has no descriptor left: raise its limit "
                "(ulimit -n, LimitNOFILE=), or close some before");
  }

  void OnReady() { Apply(lifecycle_.Happened(Happening::kBecameReady, clock_.Now())); }
  void OnRequest(Request request);
  void OnAdopt(const Plan& plan, std::vector<Ledger::Entry> entries);

 private:
  // Any thread. The lengths of every request, from the first on. Whoever is first, a thread that
  // announces it or the loop, fixes them for both: what is announced must be certain.
  Budget FixLengths() {
    std::lock_guard lock(lengths_mutex_);
    lengths_fixed_ = true;
    return lengths_;
  }

  void ReadSignals(SignalReader::Form form);
  void Read();
  void OnSignal(const ReceivedSignal& signal);
  void OnDump();
  void OnEnd();
  void FirstRequest();
  void NoteFinished();
  void LookAtWork();
  Instant QuietAt() const;
  void Apply(const Lifecycle::Changes& changes);
  void Enter(const Lifecycle::Change& change);
  void EnterCancel();
  void EnterStopped();
  void ListStuck(Work::Kind kind, Stuck::What what);
  void Say(LogLevel level, const std::string& message) { log_(level, message); }

  const SteadyClock clock_;
  const ProgramOptions options_;
  ProgramObserver& observer_;
  const LogQueue log_;
  EndInTime end_in_time_;
  Inbox<std::function<void()>> inbox_;
  const std::shared_ptr<WorkList> work_ = std::make_shared<WorkList>();
  std::mutex lengths_mutex_;
  Budget lengths_ = options_.shutdown;
  bool lengths_fixed_ = false;
  TerminationSource termination_;
  SignalTable signal_table_;
  Lifecycle lifecycle_;
  std::atomic<Stage> stage_{Stage::kStarting};  // as the others may see it
  std::once_flag noted_;
  uint64_t finished_before_ = 0;  // what had finished when the first request came
  bool ended_ = false;
  Receipt receipt_;
  std::optional<SignalReader> signals_;
  std::thread thread_;
};

void Program::Loop::ReadSignals(SignalReader::Form form) {
  if (form == SignalReader::Form::kHandler && SignalIsBlocked(SIGTERM)) {
    Say(LogLevel::kWarning,
        "SIGTERM is blocked in this thread, so that it may be read by nobody: unblock it, or start "
        "this process by somebody who does not block it");
  }
  if (form == SignalReader::Form::kWait && !SignalsAreBlocked()) {
    Say(LogLevel::kWarning,
        "signals are not blocked, so that SIGTERM may end this process at once: call "
        "lastcall::BlockSignals() before the first thread, or read them by Form::kHandler");
  }
  signals_.emplace(
      clock_,
      [this](const ReceivedSignal& signal) {
        if (SignalTable().Decide(signal, Stage::kServing) == SignalAction::kShutdown) {
          Announce(NamelessRequestOf(signal, SignalAction::kShutdown));
        }
        Post([this, signal] { OnSignal(signal); });
      },
      form);
}

void Program::Loop::Read() {
  while (!ended_) {
    // What has happened is heard before the clock: after a pause of the process both are due.
    if (const auto event = inbox_.TakeUntil(std::min(lifecycle_.next_instant(), QuietAt()))) {
      (*event)();
    } else {
      const Instant now = clock_.Now();
      if (QuietAt() <= now) Apply(lifecycle_.Happened(Happening::kWentQuiet, now));
      Apply(lifecycle_.Advance(now));
    }
    LookAtWork();
  }
}

void Program::Loop::LookAtWork() {
  const bool busy = work_->count(kInFlight) + work_->count(kHold) > 0;
  if (lifecycle_.stage() == Stage::kGrace && !busy) {
    Apply(lifecycle_.Happened(Happening::kWentIdle, clock_.Now()));
  }
  if (lifecycle_.stage() == Stage::kCancel && !busy && work_->count(kPart) == 0) {
    Apply(lifecycle_.Happened(Happening::kWasDone, clock_.Now()));
  }
}

Instant Program::Loop::QuietAt() const {
  if (!options_.quiet || lifecycle_.stage() != Stage::kDelay) return kNever;
  return After(std::max(lifecycle_.stage_began(), work_->last_entered()), *options_.quiet);
}

void Program::Loop::OnSignal(const ReceivedSignal& signal) {
  const SignalAction action = signal_table_.Decide(signal, lifecycle_.stage());
  switch (action) {
    case SignalAction::kDump: return OnDump();
    case SignalAction::kReload:
      if (signal.handled) return;  // there is somebody to reload
      return Say(LogLevel::kWarning, "SIGHUP: this process has no configuration to reload");
    case SignalAction::kRefuseReload:
      return Say(LogLevel::kWarning, "SIGHUP: refused, for a shutdown is under way");
    default: return OnRequest(RequestOf(signal, action));
  }
}

void Program::Loop::OnRequest(Request request) {
  const std::string who = Describe(request.cause);
  if (lifecycle_.stage() == Stage::kStopped) {
    observer_.Requested(request, lifecycle_.plan());
    return Say(LogLevel::kInfo, "stop requested by " + who + "; it has stopped already");
  }
  FirstRequest();
  bool moved = false;
  const auto changes = lifecycle_.RequestStop(request, clock_.Now(), &moved);
  observer_.Requested(request, lifecycle_.plan());
  Say(LogLevel::kInfo, "stop requested by " + who + (moved ? "" : "; the plan stays as it was"));
  Apply(changes);
}

void Program::Loop::OnAdopt(const Plan& plan, std::vector<Ledger::Entry> entries) {
  if (lifecycle_.stage() == Stage::kStopped) return;
  FirstRequest();
  Apply(lifecycle_.Adopt(plan, std::move(entries), clock_.Now()));
}

void Program::Loop::FirstRequest() {
  if (!lifecycle_.ledger().empty()) return;
  lifecycle_.Configure(FixLengths());
  receipt_.began = clock_.Wall();
  NoteFinished();
  // An event of its own: it wakes the loop, which looks.
  work_->Watch([this] { Post([] {}); });
}

// Any thread: whoever was woken by the announcement may finish something before the loop hears of it.
void Program::Loop::NoteFinished() {
  std::call_once(noted_, [this] { finished_before_ = work_->finished(); });
}

// The program goes away before anybody asked, or before it was over.
void Program::Loop::OnEnd() {
  ended_ = true;
  if (lifecycle_.stage() == Stage::kStopped) return;
  FirstRequest();
  if (lifecycle_.stage() < Stage::kCancel) EnterCancel();
  Apply(lifecycle_.Happened(Happening::kFailed, clock_.Now()));
}

void Program::Loop::Apply(const Lifecycle::Changes& changes) {
  for (const Lifecycle::Change& change : changes) Enter(change);
  termination_.SetPlan(lifecycle_.plan());
}

void Program::Loop::Enter(const Lifecycle::Change& change) {
  stage_.store(change.entered, std::memory_order_release);
  Say(LogLevel::kDebug, "stage " + std::string(Name(change.entered)));
  termination_.SetPlan(lifecycle_.plan());
  if (change.entered == Stage::kCancel) EnterCancel();
  // First, so that whoever is woken finds the receipt.
  if (change.entered == Stage::kStopped) EnterStopped();
  if (IsStopping(change.entered)) termination_.Reach(change.entered, change.at);
}

void Program::Loop::EnterCancel() {
  const Instant now = clock_.Now();
  receipt_.calls_cancelled = work_->CancelAll();
  for (Work::Info& info : work_->Entries(kInFlight, Receipt::kMaxListed)) {
    receipt_.cancelled.push_back({options_.name, std::move(info.name), std::move(info.peer),
                                  now - info.began, termination_.view().Reached(Stage::kGrace)});
  }
}

void Program::Loop::EnterStopped() {
  // First of all: whatever is asked or told from here on may hang.
  if (lifecycle_.ran_out() && options_.exit_when_forced) {
    end_in_time_.Arm(After(clock_.Now(), kLastWords), Receipt::kForced);
  }
  receipt_.calls_finished = work_->finished() - finished_before_;
  if (lifecycle_.ran_out()) {
    ListStuck(kInFlight, Stuck::What::kCall);
    ListStuck(kPart, Stuck::What::kPart);
    ListStuck(kHold, Stuck::What::kPart);
  }
  lifecycle_.Complete(receipt_);
  observer_.Finished(receipt_);
  Say(receipt_.exit_code == 0 ? LogLevel::kInfo : LogLevel::kWarning, receipt_.Outcome());
  if (receipt_.exit_code != Receipt::kForced) return end_in_time_.Disarm();
  Say(LogLevel::kWarning, receipt_.ToJson());
  if (!options_.exit_when_forced) return;
  // Somebody does not return: nothing may be destroyed under his feet.
  log_.Flush();
  _exit(Receipt::kForced);
}

void Program::Loop::ListStuck(Work::Kind kind, Stuck::What what) {
  const Instant now = clock_.Now();
  for (Work::Info& info : work_->Entries(kind, kMaxStuck)) {
    auto stack = observer_.StackOf(info);
    receipt_.stuck.push_back({what, std::move(info.name), now - info.began, std::move(stack)});
  }
}

void Program::Loop::OnDump() {
  Say(LogLevel::kWarning, "dump: stage " + std::string(Name(lifecycle_.stage())) + ", " +
                              std::to_string(work_->count(kInFlight)) + " in flight, " +
                              std::to_string(work_->count(kPart) + work_->count(kHold)) +
                              " parts open");
  const Instant now = clock_.Now();
  for (const Work::Kind kind : {kInFlight, kPart, kHold}) {
    for (const Work::Info& info : work_->Entries(kind, kMaxStuck)) {
      Say(LogLevel::kWarning, "dump: " + info.name +
                                  (info.peer.empty() ? "" : " from " + info.peer) + " for " +
                                  FormatDuration(now - info.began));
    }
  }
  for (const std::string& line : observer_.Dump()) Say(LogLevel::kWarning, line);
}

Program::Program(ProgramOptions options)
    : pid_(getpid()), loop_(std::make_unique<Loop>(std::move(options))) {}

Program::~Program() {
  // The copy in a forked child has no thread to join, and locks that nobody will open.
  if (getpid() != pid_) static_cast<void>(loop_.release());
}

Result<> Program::CheckProcess() const {
  if (getpid() == pid_) return {};
  return Fail(Code::kFailedPrecondition,
              "process " + std::to_string(getpid()) + " was forked and has no lifecycle: that is " +
                  "in " + std::to_string(pid_) +
                  "; ask that one to stop (SIGTERM), or exec, or make a " +
                  "lifecycle after the fork");
}

Result<> Program::Ready() {
  if (auto here = CheckProcess(); !here) return here;
  if (auto signals = loop_->CheckSignals(); !signals) return signals;
  loop_->Post([loop = loop_.get()] { loop->OnReady(); });
  return {};
}

int Program::Run() {
  if (const auto ready = Ready(); !ready) {
    LogToStderr(LogLevel::kError, ready.error().message);
    return 70;
  }
  termination().Wait();
  loop_->FlushLog();
  return receipt()->exit_code;
}

Result<> Program::Shutdown(std::string reason, std::optional<Duration> delay,
                           std::optional<Duration> grace, std::optional<Duration> cancel) {
  Request request =
      RequestNow({.kind = Cause::Kind::kProgram, .reason = std::move(reason)}, loop_->clock());
  request.delay = delay;
  request.grace = grace;
  request.cancel = cancel;
  return RequestStop(std::move(request));
}

Result<> Program::RequestStop(Request request) {
  if (auto here = CheckProcess(); !here) return here;
  request.cause = MadeSafe(std::move(request.cause));
  Date(request, loop_->clock());
  loop_->Announce(request);
  loop_->Post([loop = loop_.get(), request = std::move(request)] { loop->OnRequest(request); });
  return {};
}

Result<> Program::Configure(std::optional<Duration> delay, std::optional<Duration> grace,
                            std::optional<Duration> cancel) {
  if (auto here = CheckProcess(); !here) return here;
  loop_->Configure(delay, grace, cancel);
  return {};
}

Result<> Program::Adopt(const Plan& plan, std::vector<Ledger::Entry> entries) {
  if (auto here = CheckProcess(); !here) return here;
  loop_->Post(
      [loop = loop_.get(), plan, entries = std::move(entries)] { loop->OnAdopt(plan, entries); });
  return {};
}

Work Program::Enter(std::string name, std::string peer) {
  if (!CheckProcess()) return {};
  return loop_->work().Enter(kInFlight, SafeText(std::move(name), kMaxSafeName),
                             SafeText(std::move(peer), kMaxSafeName), loop_->clock().Now());
}

Work Program::Open(std::string name) {
  if (!CheckProcess()) return {};
  return loop_->work().Enter(kPart, SafeText(std::move(name), kMaxSafeName), {},
                             loop_->clock().Now());
}

Work Program::Hold(std::string name) {
  if (!CheckProcess()) return {};
  return loop_->work().Enter(kHold, SafeText(std::move(name), kMaxSafeName), {},
                             loop_->clock().Now());
}

Termination Program::termination() const { return loop_->termination(); }

const Receipt* Program::receipt() const {
  return termination().Reached(Stage::kStopped) ? &loop_->receipt() : nullptr;
}

}  // namespace lastcall
