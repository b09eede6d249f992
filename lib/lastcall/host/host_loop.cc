#include "lastcall/host/host_loop.h"

#include <unistd.h>

#include <algorithm>
#include <utility>

#include "lastcall/base/safe_text.h"
#include "lastcall/host/stack.h"

namespace lastcall {
namespace {

// How long the last words of a process that is ended by force may take: stacks, receipt, log.
constexpr Duration kLastWords = std::chrono::seconds(1);

constexpr int kCannotBind = 69;
constexpr int kInternal = 70;
constexpr int kBadConfiguration = 78;

HostObserver& SilentObserver() {
  static HostObserver silent;  // has no state
  return silent;
}

}  // namespace

int ExitCodeFor(const Error& error) {
  if (IsConfiguration(error.code)) return kBadConfiguration;
  const bool address = error.code == Code::kAlreadyExists || error.code == Code::kPermissionDenied;
  return address ? kCannotBind : kInternal;
}

HostLoop::HostLoop(HostOptions options)
    : options_(std::move(options)),
      observer_(options_.observer != nullptr ? *options_.observer : SilentObserver()),
      log_(LogQueue::Before(options_.log)),
      lifecycle_(options_.shutdown, clock_.Now()) {}

HostLoop::~HostLoop() {
  // A log that has not returned by the plan's end is like anything else that has not.
  const bool asked = !lifecycle_.ledger().empty();
  if (!log_.Release(asked ? lifecycle_.plan().end : kNever)) _exit(Receipt::kForced);
}

int HostLoop::Run() {
  receipt_.subject = options_.name;
  receipt_.pid = getpid();
  receipt_.incarnation = options_.incarnation;
  may_accept_ = options_.accept_when_ready;
  std::optional<SignalReader> signals;
  if (options_.signals) {
    signals.emplace(
        clock_,
        [this](const ReceivedSignal& signal) { Post([this, signal] { OnSignal(signal); }); },
        *options_.signals);
  }
  StartSites();
  while (lifecycle_.stage() != Stage::kStopped) {
    // What has happened is heard before the clock: after a pause of the process both are due.
    const Instant next = std::min({lifecycle_.next_instant(), QuietAt(), StartDueAt()});
    if (const auto event = inbox_.TakeUntil(next)) {
      Run(*event);
      continue;
    }
    if (StartDueAt() <= clock_.Now()) OnStartOverdue();
    if (QuietAt() <= clock_.Now()) Apply(lifecycle_.Happened(Happening::kWentQuiet, clock_.Now()));
    Apply(lifecycle_.Advance(clock_.Now()));
  }
  log_.Flush();
  return receipt_.exit_code;
}

// An exception ends what it concerns. The stages go on, and their instants hold whatever was missed.
void HostLoop::Run(const std::function<void()>& event) {
  try {
    event();
  } catch (const std::exception& error) {
    Say(LogLevel::kError, "internal error: " + SafeText(error.what()) + "; the process goes on");
  }
}

void HostLoop::StartSites() {
  plugin_thread_.Post([this] {
    const Site::Surroundings surroundings{
        .clock = clock_,
        .log = log_,
        .termination = termination_.view(),
        .request_stop =
            [this](Request request) {
              Post([this, request = std::move(request)] {
                if (!observer_.TakesRequest(request)) OnRequest(request);
              });
            },
        .making = [this](const std::string& plugin) { observer_.Making(plugin); }};
    commons_.emplace(log_);
    Result<> started;
    for (const auto& site : sites_) {
      started = site->Start(plugin_thread_, surroundings, *commons_, abandon_start_);
      if (!started) break;
    }
    Post([this, started] { OnStarted(started); });
  });
}

void HostLoop::OnStarted(const Result<>& started) {
  started_ = true;
  if (!started) {
    // What was started before is stopped in the cancel stage, like after any request.
    RefuseStart(started.error(), std::nullopt);
  }
  if (lifecycle_.stage() == Stage::kCancel) {
    BeginRetire({.last_call = true});
    return EnterCancel();
  }
  observer_.Ready();
  Apply(lifecycle_.Happened(Happening::kBecameReady, clock_.Now()));
}

// Somebody's constructor does not return: nothing can be stopped in good order.
void HostLoop::OnStartOverdue() {
  const auto activity = plugin_thread_.activity();
  const std::string what = activity ? activity->what + " has not returned after " +
                                          FormatDuration(clock_.Now() - activity->since)
                                    : "the start takes too long";
  RefuseStart({Code::kInternal, what}, Duration::zero());
}

void HostLoop::RefuseStart(const Error& error, std::optional<Duration> cancel) {
  start_error_ = error;
  Say(LogLevel::kError, error.message);
  observer_.StartFailed(error);
  if (lifecycle_.stage() != Stage::kStarting) return;
  Request request = RequestNow(
      {.kind = Cause::Kind::kProcess, .who = options_.name, .reason = "cannot start"}, clock_);
  request.cancel = cancel;
  OnRequest(std::move(request));
}

void HostLoop::OnSignal(const ReceivedSignal& signal) {
  const SignalAction action = signal_table_.Decide(signal, lifecycle_.stage());
  switch (action) {
    case SignalAction::kDump: return OnDump();
    case SignalAction::kReload:
      return Say(LogLevel::kWarning, "SIGHUP: this process has no configuration to reload");
    case SignalAction::kRefuseReload:
      return Say(LogLevel::kWarning, "SIGHUP: refused, for a shutdown is under way");
    default: return OnRequest(RequestOf(signal, action));
  }
}

void HostLoop::OnRequest(Request request) {
  FirstRequest();
  const std::string who = Describe(request.cause);
  bool moved = false;
  const auto changes = lifecycle_.RequestStop(std::move(request), clock_.Now(), &moved);
  Say(LogLevel::kInfo, "stop requested by " + who + (moved ? "" : "; the plan stays as it was"));
  Apply(changes);
}

void HostLoop::OnAdopt(const Plan& plan, std::vector<Ledger::Entry> entries,
                       Host::Succession succession) {
  FirstRequest();
  if (succession.replaced && lifecycle_.stage() == Stage::kServing) replaced_ = true;
  unserved_.merge(succession.unserved);
  Apply(lifecycle_.Adopt(plan, std::move(entries), clock_.Now()));
}

void HostLoop::FirstRequest() {
  if (!lifecycle_.ledger().empty()) return;
  receipt_.began = clock_.Wall();
  if (started_) ended_before_ = Ended();
}

void HostLoop::OnAccepting(bool accepting) {
  may_accept_ = accepting;
  if (!Accepts(lifecycle_.stage())) return;
  ForEachServer([&](Server& server) { server.Accept(accepting); });
}

void HostLoop::OnDraining(const std::string& name, bool draining) {
  for (const auto& site : sites_) {
    if (site->name() == name) site->set_draining(draining);
  }
  UpdateHealth();
  if (!draining) return;
  ForEachServer([&](Server& server) {
    if (server.name() == name) server.SendAway();
  });
}

void HostLoop::UpdateHealth() {
  if (!started_ || stopping_plugins_) return;
  for (const auto& site : sites_) {
    if (site->server() == nullptr) continue;
    // Replaced, the server is well: its successor serves.
    const bool serving = lifecycle_.stage() == Stage::kServing || replaced_;
    site->server()->SetServing(serving && !site->draining());
  }
}

void HostLoop::Apply(const Lifecycle::Changes& changes) {
  for (const Lifecycle::Change& change : changes) Enter(change);
  termination_.SetPlan(lifecycle_.plan());
}

void HostLoop::Enter(const Lifecycle::Change& change) {
  Say(LogLevel::kDebug, "stage " + std::string(Name(change.entered)));
  // First, so that whoever is woken by the event finds health as it should be.
  UpdateHealth();
  termination_.SetPlan(lifecycle_.plan());
  if (change.entered == Stage::kServing) {
    ForEachServer([&](Server& server) { server.Accept(may_accept_); });
  }
  if (IsStopping(change.entered)) termination_.Reach(change.entered, change.at);
  if (change.entered == Stage::kGrace) EnterGrace();
  if (change.entered == Stage::kCancel) EnterCancel();
  if (change.entered == Stage::kStopped) EnterStopped();
  observer_.StageEntered(change.entered);
}

void HostLoop::EnterGrace() {
  // Replaced, there is no hurry: what ends by itself need not be told.
  const LeaveSpread leave(clock_.Now(), lifecycle_.plan().cancel,
                          replaced_ ? kForever : LeaveSpread::kPause);
  Farewell farewell{.leave = leave, .last_call = !replaced_, .unserved = unserved_};
  if (replaced_) {
    farewell.heir = [this](std::vector<UniqueFd> connections) {
      observer_.LeftBehind(std::move(connections));
    };
  }
  BeginRetire(farewell);
}

void HostLoop::BeginRetire(const Farewell& farewell) {
  retiring_ = true;
  not_retired_ = 1;  // this function, for it is in the middle of a change
  ForEachServer([&](Server& server) {
    ++not_retired_;
    server.BeginRetire(farewell, [this] { Post([this] { OnRetired(); }); });
  });
  Post([this] { OnRetired(); });
}

void HostLoop::OnRetired() {
  if (--not_retired_ > 0) return;
  if (lifecycle_.stage() == Stage::kCancel) return StopPlugins();
  Apply(lifecycle_.Happened(Happening::kWentIdle, clock_.Now()));
}

void HostLoop::EnterCancel() {
  abandon_start_.store(true);
  if (!retiring_) return;  // it was starting: OnStarted goes on from here
  ListCancelled();
  ForEachServer([](Server& server) { server.Cancel(); });
  if (not_retired_ == 0) StopPlugins();
}

void HostLoop::StopPlugins() {
  receipt_.calls_finished = Ended() - ended_before_ - receipt_.calls_cancelled;
  stopping_plugins_ = true;
  plugin_thread_.Post([this, by = Deadline(lifecycle_.plan().end)] {
    for (auto site = sites_.rbegin(); site != sites_.rend(); ++site) {
      (*site)->Stop(plugin_thread_, *commons_, by);
    }
    Post([this] { OnPluginsStopped(); });
  });
}

void HostLoop::OnPluginsStopped() { Apply(lifecycle_.Happened(Happening::kWasDone, clock_.Now())); }

void HostLoop::EnterStopped() {
  if (lifecycle_.ran_out()) {
    // First of all: whatever is asked or told from here on may hang.
    end_in_time_.Arm(After(clock_.Now(), kLastWords), Receipt::kForced);
    ListStuck();
  }
  lifecycle_.Complete(receipt_);
  const bool forced = receipt_.exit_code == Receipt::kForced;
  if (start_error_ && !forced) receipt_.exit_code = ExitCodeFor(*start_error_);
  observer_.Finished(receipt_);
  Say(receipt_.exit_code == 0 ? LogLevel::kInfo : LogLevel::kWarning, receipt_.Outcome());
  if (!forced) return end_in_time_.Disarm();
  // Somebody does not return: nothing may be destroyed under his feet.
  Say(LogLevel::kWarning, receipt_.ToJson());
  log_.Flush();
  _exit(Receipt::kForced);
}

void HostLoop::ListCancelled() {
  const Instant now = clock_.Now();
  for (const auto& site : sites_) {
    if (site->server() == nullptr) continue;
    const CallRegistry& calls = site->server()->calls();
    receipt_.calls_cancelled += static_cast<uint64_t>(std::max<int64_t>(0, calls.in_flight()));
    for (CallInfo& call : calls.Calls(Receipt::kMaxListed - receipt_.cancelled.size())) {
      receipt_.cancelled.push_back({site->name(), std::move(call.method), std::move(call.peer),
                                    now - call.began, call.told});
    }
  }
}

void HostLoop::ListStuck() {
  constexpr size_t kMaxStuck = 100;
  const Instant now = clock_.Now();
  // This is past the last instant: names are certain, stacks are taken as far as a moment goes.
  const Instant enough = now + std::chrono::milliseconds(200);
  const auto stack_of = [&](pid_t thread) {
    return thread != 0 && clock_.Now() < enough ? StackOf(thread) : std::vector<std::string>{};
  };
  if (const auto activity = plugin_thread_.activity()) {
    receipt_.stuck.push_back(
        {Stuck::What::kPlugin, activity->what, now - activity->since, stack_of(activity->thread)});
  }
  ForEachServer([&](Server& server) {
    for (const CallInfo& call : server.calls().Calls(kMaxStuck)) {
      receipt_.stuck.push_back(
          {Stuck::What::kCall, call.method, now - call.began, stack_of(call.thread)});
    }
  });
  if (!receipt_.stuck.empty()) return;
  // Nobody holds it up, but there was no time to close anything.
  for (const auto& site : sites_) {
    receipt_.stuck.push_back({Stuck::What::kPlugin,
                              "server " + site->name() + ": closing",
                              now - lifecycle_.stage_began(),
                              {}});
  }
}

template <class F>
void HostLoop::ForEachServer(F action) {
  if (!started_ || stopping_plugins_) return;
  for (const auto& site : sites_) {
    if (site->server() != nullptr) action(*site->server());
  }
}

int64_t HostLoop::InFlight() {
  int64_t in_flight = 0;
  ForEachServer([&](Server& server) { in_flight += server.calls().in_flight(); });
  return in_flight;
}

uint64_t HostLoop::Ended() {
  uint64_t ended = 0;
  ForEachServer([&](Server& server) {
    const auto in_flight = static_cast<uint64_t>(std::max<int64_t>(0, server.calls().in_flight()));
    ended += server.calls().total() - in_flight;
  });
  return ended;
}

Instant HostLoop::QuietAt() {
  if (!options_.quiet || lifecycle_.stage() != Stage::kDelay) return kNever;
  Instant last = lifecycle_.stage_began();
  ForEachServer([&](Server& server) { last = std::max(last, server.calls().last_began()); });
  return After(last, *options_.quiet);
}

Instant HostLoop::StartDueAt() const {
  return lifecycle_.stage() == Stage::kStarting && !started_ ? options_.ready_by : kNever;
}

HostReport HostLoop::Report() {
  HostReport report{lifecycle_.stage(), {}};
  ForEachServer([&](Server& server) {
    report.servers.push_back({server.name(), server.serving(), server.accepting(),
                              server.calls().in_flight(), server.calls().total(),
                              server.CountConnections(), server.calls().methods()});
  });
  return report;
}

void HostLoop::OnDump() {
  Say(LogLevel::kWarning, "dump: stage " + std::string(Name(lifecycle_.stage())) + ", " +
                              std::to_string(InFlight()) + " calls in flight");
  const Instant now = clock_.Now();
  ForEachServer([&](Server& server) {
    for (const CallInfo& call : server.calls().Calls(100)) {
      Say(LogLevel::kWarning, "dump: " + server.name() + " " + call.method + " from " + call.peer +
                                  " for " + FormatDuration(now - call.began));
    }
  });
  for (const ThreadStack& thread : AllStacks()) {
    Say(LogLevel::kWarning, "dump: thread " + std::to_string(thread.id) + " " + thread.name);
    for (const std::string& frame : thread.frames) Say(LogLevel::kWarning, "dump:   " + frame);
  }
}

}  // namespace lastcall
