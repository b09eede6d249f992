#include "lastcall/program/program.h"

#include <unistd.h>

#include <functional>
#include <mutex>
#include <thread>
#include <utility>

#include "lastcall/base/peer_text.h"
#include "lastcall/base/safe_text.h"
#include "lastcall/program/stage_loop.h"

namespace lastcall {
namespace {

constexpr auto kInFlight = Work::Kind::kInFlight;
constexpr auto kPart = Work::Kind::kPart;
constexpr auto kHold = Work::Kind::kHold;

// More than these are not named in receipt and log.
constexpr size_t kMaxStuck = 100;

ProgramObserver& SilentObserver() {
  static ProgramObserver silent;  // has no state
  return silent;
}

}  // namespace

// The work of a program, as the part of a StageLoop with a thread of its own.
class Program::Loop final : private StagePart {
 public:
  explicit Loop(ProgramOptions options)
      : options_(std::move(options)),
        observer_(options_.observer != nullptr ? *options_.observer : SilentObserver()),
        loop_({.name = SafeText(options_.name, kMaxSafeName),
               .shutdown = options_.shutdown,
               .quiet = options_.quiet,
               .exit_when_forced = options_.exit_when_forced,
               .log = options_.log},
              clock_, *this) {
    if (options_.signals) ReadSignals(*options_.signals);
    thread_ = std::thread([this] {
      while (!ended_) loop_.Step();
    });
  }

  ~Loop() override {
    signals_.reset();
    Post([this] {
      ended_ = true;
      loop_.OnEnd();
    });
    thread_.join();
    work_->Watch(nullptr);  // it may outlive this
  }

  void Post(std::function<void()> event) { loop_.Post(std::move(event)); }
  StageLoop& stages() { return loop_; }
  const Clock& clock() const { return clock_; }
  WorkList& work() { return *work_; }

  // Fails: kResourceExhausted, signals cannot be read.
  Result<> CheckSignals() const {
    if (!signals_ || signals_->reads()) return {};
    return Fail(Code::kResourceExhausted,
                "signals cannot be read, for the process has no descriptor left: raise its limit "
                "(ulimit -n, LimitNOFILE=), or close some before");
  }

 private:
  void FirstRequest() override;
  void Requested(const Request& request, const Plan& plan) override {
    observer_.Requested(request, plan);
  }
  void Entering(const Lifecycle::Change& change) override;
  bool idle() const override { return work_->count(kInFlight) + work_->count(kHold) == 0; }
  bool done() const override { return idle() && work_->count(kPart) == 0; }
  Instant last_began() const override { return work_->last_entered(); }
  void AddTo(Receipt& receipt, bool ran_out) override;
  void Finished(Receipt& receipt) override { observer_.Finished(receipt); }
  void Dump() override;

  void ReadSignals(SignalReader::Form form);
  void ListStuck(Receipt& receipt, Work::Kind kind, Stuck::What what);

  const SteadyClock clock_;
  const ProgramOptions options_;
  ProgramObserver& observer_;
  const std::shared_ptr<WorkList> work_ = std::make_shared<WorkList>();
  std::once_flag noted_;
  uint64_t finished_before_ = 0;  // what had finished when the first request came
  uint64_t cancelled_ = 0;
  std::vector<CancelledCall> listed_;  // of those
  bool ended_ = false;
  StageLoop loop_;  // goes before what a log may still ask for
  std::optional<SignalReader> signals_;
  std::thread thread_;
};

void Program::Loop::ReadSignals(SignalReader::Form form) {
  if (form == SignalReader::Form::kHandler && SignalIsBlocked(SIGTERM)) {
    loop_.Say(LogLevel::kWarning,
              "SIGTERM is blocked in this thread, so that it may never be read: unblock it, or "
              "start this process from a parent that does not block it");
  }
  if (form == SignalReader::Form::kWait && !SignalsAreBlocked()) {
    loop_.Say(LogLevel::kWarning,
              "signals are not blocked, so that SIGTERM may end this process immediately: call "
              "lastcall::BlockSignals() before the first thread, or read them by Form::kHandler");
  }
  signals_.emplace(
      clock_,
      [this](const ReceivedSignal& signal) {
        if (SignalTable().Decide(signal, Stage::kServing) == SignalAction::kShutdown) {
          loop_.Announce(NamelessRequestOf(signal, SignalAction::kShutdown));
        }
        Post([this, signal] { loop_.OnSignal(signal); });
      },
      form);
}

// Whoever was woken by an announcement may finish something before the loop hears of it.
void Program::Loop::FirstRequest() {
  std::call_once(noted_, [this] {
    finished_before_ = work_->finished();
    // An event of its own: it wakes the loop, which looks.
    work_->Watch([this] { Post([] {}); });
  });
}

void Program::Loop::Entering(const Lifecycle::Change& change) {
  if (change.entered != Stage::kCancel) return;
  const Instant now = clock_.Now();
  cancelled_ = work_->CancelAll();
  for (Work::Info& info : work_->Entries(kInFlight, Receipt::kMaxListed)) {
    listed_.push_back({options_.name, std::move(info.name), std::move(info.peer), now - info.began,
                       loop_.termination().Reached(Stage::kGrace)});
  }
}

void Program::Loop::AddTo(Receipt& receipt, bool ran_out) {
  receipt.calls_finished = work_->finished() - finished_before_;
  receipt.calls_cancelled = cancelled_;
  receipt.cancelled = listed_;
  if (!ran_out) return;
  ListStuck(receipt, kInFlight, Stuck::What::kCall);
  ListStuck(receipt, kPart, Stuck::What::kPart);
  ListStuck(receipt, kHold, Stuck::What::kPart);
}

void Program::Loop::ListStuck(Receipt& receipt, Work::Kind kind, Stuck::What what) {
  const Instant now = clock_.Now();
  for (Work::Info& info : work_->Entries(kind, kMaxStuck)) {
    auto stack = observer_.StackOf(info);
    receipt.stuck.push_back({what, std::move(info.name), now - info.began, std::move(stack)});
  }
}

void Program::Loop::Dump() {
  const auto say = [&](const std::string& line) { loop_.Say(LogLevel::kWarning, line); };
  say("dump: stage " + std::string(Name(loop_.stage())) + ", " +
      std::to_string(work_->count(kInFlight)) + " in flight, " +
      std::to_string(work_->count(kPart) + work_->count(kHold)) + " parts open");
  const Instant now = clock_.Now();
  for (const Work::Kind kind : {kInFlight, kPart, kHold}) {
    for (const Work::Info& info : work_->Entries(kind, kMaxStuck)) {
      say("dump: " + info.name + (info.peer.empty() ? "" : " from " + info.peer) + " for " +
          FormatDuration(now - info.began));
    }
  }
  for (const std::string& line : observer_.Dump()) say(line);
}

Program::Program(ProgramOptions options)
    : pid_(getpid()), loop_(std::make_unique<Loop>(std::move(options))) {}

Program::~Program() {
  // The copy in a forked child has no thread to join, and locks that nobody will open.
  if (getpid() != pid_) static_cast<void>(loop_.release());
}

Result<> Program::CheckNotForked() const {
  if (getpid() == pid_) return {};
  return Fail(Code::kFailedPrecondition,
              "process " + std::to_string(getpid()) + " was forked and has no lifecycle: that is " +
                  "in " + std::to_string(pid_) +
                  "; ask that one to stop (SIGTERM), or exec, or make a " +
                  "lifecycle after the fork");
}

Result<> Program::Ready() {
  if (auto here = CheckNotForked(); !here) return here;
  if (auto signals = loop_->CheckSignals(); !signals) return signals;
  loop_->Post([loop = loop_.get()] { loop->stages().OnReady(); });
  return {};
}

int Program::Run() {
  if (const auto ready = Ready(); !ready) {
    LogToStderr(LogLevel::kError, ready.error().message);
    return kExitInternal;
  }
  termination().Wait();
  loop_->stages().log().Flush();
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
  if (auto here = CheckNotForked(); !here) return here;
  request.cause = MadeSafe(std::move(request.cause));
  Timestamp(request, loop_->clock());
  loop_->stages().Announce(request);
  loop_->Post(
      [loop = loop_.get(), request = std::move(request)] { loop->stages().OnRequest(request); });
  return {};
}

Result<> Program::Configure(std::optional<Duration> delay, std::optional<Duration> grace,
                            std::optional<Duration> cancel) {
  if (auto here = CheckNotForked(); !here) return here;
  loop_->stages().Configure(delay, grace, cancel);
  return {};
}

Result<> Program::Adopt(const Plan& plan, std::vector<Ledger::Entry> entries) {
  if (auto here = CheckNotForked(); !here) return here;
  loop_->Post([loop = loop_.get(), plan, entries = std::move(entries)] {
    loop->stages().OnAdopt(plan, entries);
  });
  return {};
}

Work Program::Enter(std::string name, const std::string& peer) {
  if (!CheckNotForked()) return {};
  return loop_->work().Enter(kInFlight, SafeText(std::move(name), kMaxSafeName),
                             SafeText(PeerText(peer), kMaxSafeName), loop_->clock().Now());
}

Work Program::Open(std::string name) {
  if (!CheckNotForked()) return {};
  return loop_->work().Enter(kPart, SafeText(std::move(name), kMaxSafeName), {},
                             loop_->clock().Now());
}

Work Program::Hold(std::string name) {
  if (!CheckNotForked()) return {};
  return loop_->work().Enter(kHold, SafeText(std::move(name), kMaxSafeName), {},
                             loop_->clock().Now());
}

Termination Program::termination() const { return loop_->stages().termination(); }

const Receipt* Program::receipt() const {
  return termination().Reached(Stage::kStopped) ? &loop_->stages().receipt() : nullptr;
}

}  // namespace lastcall
