#include "lastcall/host/host_loop.h"

#include <algorithm>
#include <utility>

#include "lastcall/host/stack.h"

namespace lastcall {
namespace {

// What is remembered of finished calls takes no more in one host.
constexpr size_t kFinishedBytes = 16 << 20;

HostObserver& SilentObserver() {
  static HostObserver silent;  // has no state
  return silent;
}

// Whether some of it is named: "plugin echo: offloaded work of /pkg.Service/Method".
bool NamesWork(const Receipt& receipt, const std::string& prefix) {
  return std::any_of(receipt.stuck.begin(), receipt.stuck.end(),
                     [&](const Stuck& one) { return one.name.starts_with(prefix + " of "); });
}

}  // namespace

int ExitCodeFor(const Error& error) {
  if (IsConfiguration(error.code)) return kExitBadConfiguration;
  const bool address = error.code == Code::kAlreadyExists || error.code == Code::kPermissionDenied;
  return address ? kExitCannotBind : kExitInternal;
}

HostLoop::HostLoop(HostOptions options)
    : options_(std::move(options)),
      observer_(options_.observer != nullptr ? *options_.observer : SilentObserver()),
      loop_({.name = options_.name,
             .incarnation = options_.incarnation,
             .shutdown = options_.shutdown,
             .quiet = options_.quiet,
             .log = options_.log},
            clock_, *this),
      inspector_({.clock = clock_,
                  .log = loop_.log(),
                  .process = options_.name,
                  .incarnation = options_.incarnation,
                  .frozen_after = options_.frozen_after,
                  .stalls_changed = [this] { observer_.StallsChanged(); },
                  .frozen_changed =
                      [this] {
                        // Its end may follow: then the stacks are in the log before.
                        loop_.log().Flush();
                        observer_.StallsChanged();
                      }}) {}

int HostLoop::Run() {
  may_accept_ = options_.accept_when_ready;
  std::optional<SignalReader> signals;
  if (options_.signals) {
    signals.emplace(
        clock_,
        [this](const ReceivedSignal& signal) { Post([this, signal] { loop_.OnSignal(signal); }); },
        *options_.signals);
  }
  StartServers();
  while (loop_.stage() != Stage::kStopped) loop_.Step();
  loop_.log().Flush();
  return receipt().exit_code;
}

void HostLoop::StartServers() {
  plugin_thread_.Post([this] {
    const HostedServer::Context context{
        .clock = clock_,
        .log = loop_.log(),
        .termination = loop_.termination(),
        .prober = &prober_,
        .finished_bytes = kFinishedBytes / std::max<size_t>(hosted_.size(), 1),
        .request_stop =
            [this](Request request) {
              Post([this, request = std::move(request)] {
                if (!observer_.TakesRequest(request)) OnRequest(request);
              });
            },
        .constructing = [this](const std::string& plugin) { observer_.Constructing(plugin); }};
    audit_.emplace(loop_.log());
    Result<> started;
    for (const auto& hosted : hosted_) {
      started = hosted->Start(plugin_thread_, context, *audit_, abandon_start_);
      if (!started) break;
    }
    Post([this, started] { OnStarted(started); });
  });
}

void HostLoop::OnStarted(const Result<>& started) {
  started_ = true;
  InspectCalls();
  if (!started) {
    // What was started before is stopped in the cancel stage, like after any request.
    RefuseStart(started.error(), std::nullopt);
  }
  if (loop_.stage() == Stage::kCancel) {
    BeginRetire({.last_call = true});
    return EnterCancel();
  }
  observer_.Ready();
  loop_.OnReady();
}

void HostLoop::InspectCalls() {
  std::vector<CallInspector::Served> served;
  ForEachServer([&](Server& server) {
    served.push_back(
        {server.name(), &server.calls(), [&server] { return server.canary(); }, server.threads()});
  });
  inspector_.Inspect(std::move(served));
}

Instant HostLoop::due() const {
  return loop_.stage() == Stage::kStarting && !started_ ? options_.ready_by : kNever;
}

// Somebody's constructor does not return: nothing can be stopped cleanly.
void HostLoop::OnDue() {
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
  if (loop_.stage() != Stage::kStarting) return;
  Request request = RequestNow(
      {.kind = Cause::Kind::kProcess, .who = options_.name, .reason = "cannot start"}, clock_);
  request.cancel = cancel;
  OnRequest(std::move(request));
}

void HostLoop::OnAdopt(const Plan& plan, std::vector<Ledger::Entry> entries,
                       Host::Succession succession) {
  if (succession.replaced && loop_.stage() == Stage::kServing) replaced_ = true;
  unserved_.merge(succession.unserved);
  loop_.OnAdopt(plan, std::move(entries));
}

void HostLoop::FirstRequest() {
  if (started_) ended_before_ = Ended();
}

void HostLoop::OnAccepting(bool accepting) {
  may_accept_ = accepting;
  if (!Accepts(loop_.stage())) return;
  ForEachServer([&](Server& server) { server.Accept(accepting); });
}

void HostLoop::OnDraining(const std::string& name, bool draining) {
  for (const auto& hosted : hosted_) {
    if (hosted->name() == name) hosted->set_draining(draining);
  }
  UpdateHealth();
  if (!draining) return;
  ForEachServer([&](Server& server) {
    if (server.name() == name) server.SendGoaway();
  });
}

void HostLoop::UpdateHealth() {
  if (!started_ || stopping_plugins_) return;
  for (const auto& hosted : hosted_) {
    if (hosted->server() == nullptr) continue;
    // Replaced, the server is well: its successor serves.
    const bool serving = loop_.stage() == Stage::kServing || replaced_;
    hosted->server()->SetServing(serving && !hosted->draining());
  }
}

void HostLoop::Entering(const Lifecycle::Change& change) {
  UpdateHealth();
  inspector_.SetServing(change.entered == Stage::kServing);
  if (change.entered == Stage::kServing) {
    ForEachServer([&](Server& server) { server.Accept(may_accept_); });
  }
  if (change.entered == Stage::kCancel && retiring_) ListCancelled();
}

void HostLoop::Entered(const Lifecycle::Change& change) {
  if (change.entered == Stage::kGrace) EnterGrace();
  if (change.entered == Stage::kCancel) EnterCancel();
  observer_.StageEntered(change.entered);
}

void HostLoop::EnterGrace() {
  // Replaced, there is no hurry: what ends by itself need not be told.
  const LeaveSpread leave(clock_.Now(), loop_.lifecycle().plan().cancel,
                          replaced_ ? kForever : LeaveSpread::kPause);
  RetireOptions how{.leave = leave, .last_call = !replaced_, .unserved = unserved_};
  if (replaced_) {
    how.heir = [this](std::vector<UniqueFd> connections) {
      observer_.LeftBehind(std::move(connections));
    };
  }
  BeginRetire(how);
}

void HostLoop::BeginRetire(const RetireOptions& how) {
  retiring_ = true;
  ForEachServer([&](Server& server) {
    ++not_retired_;
    server.BeginRetire(how, [this] { Post([this] { OnRetired(); }); });
  });
}

void HostLoop::OnRetired() {
  if (--not_retired_ == 0 && loop_.stage() == Stage::kCancel) StopPlugins();
}

void HostLoop::EnterCancel() {
  abandon_start_.store(true);
  for (const auto& hosted : hosted_) hosted->CloseOffloads();
  if (!retiring_) return;  // it was starting: OnStarted goes on from here
  ForEachServer([](Server& server) { server.Cancel(); });
  if (not_retired_ == 0) StopPlugins();
}

void HostLoop::StopPlugins() {
  finished_ = Ended() - ended_before_ - cancelled_;
  stopping_plugins_ = true;
  InspectCalls();
  plugin_thread_.Post([this, by = Deadline(loop_.lifecycle().plan().end)] {
    for (auto hosted = hosted_.rbegin(); hosted != hosted_.rend(); ++hosted) {
      (*hosted)->Stop(plugin_thread_, *audit_, by);
    }
    Post([this] { plugins_stopped_ = true; });
  });
}

void HostLoop::AddTo(Receipt& receipt, bool ran_out) {
  receipt.calls_finished = finished_;
  receipt.calls_cancelled = cancelled_;
  receipt.cancelled = listed_;
  if (ran_out) ListStuck(receipt);
}

void HostLoop::Finished(Receipt& receipt) {
  const bool forced = receipt.exit_code == kExitForced;
  if (start_error_ && !forced) receipt.exit_code = ExitCodeFor(*start_error_);
  observer_.Finished(receipt);
}

void HostLoop::ListCancelled() {
  const Instant now = clock_.Now();
  for (const auto& hosted : hosted_) {
    if (hosted->server() == nullptr) continue;
    const CallRegistry& calls = hosted->server()->calls();
    cancelled_ += static_cast<uint64_t>(std::max<int64_t>(0, calls.in_flight()));
    for (CallInfo& call : calls.Calls(Receipt::kMaxListed - listed_.size())) {
      listed_.push_back(
          {hosted->name(), std::move(call.method), call.client(), now - call.began, call.told});
    }
  }
}

void HostLoop::ListStuck(Receipt& receipt) {
  constexpr size_t kMaxStuck = 100;
  const Instant now = clock_.Now();
  // This is past the last instant: names are certain, stacks are taken as far as a moment goes.
  const Instant enough = now + std::chrono::milliseconds(200);
  const auto stack_of = [&](pid_t thread) {
    return thread != 0 && clock_.Now() < enough ? StackOf(thread) : std::vector<std::string>{};
  };
  for (const auto& hosted : hosted_) {
    for (const auto& work : hosted->offloaded_work()) {
      if (receipt.stuck.size() == kMaxStuck) break;
      receipt.stuck.push_back(
          {Stuck::What::kPlugin, work.what, now - work.since, stack_of(work.thread)});
    }
  }
  // Whoever waits for one of those need not be named too.
  const auto activity = plugin_thread_.activity();
  if (activity && !NamesWork(receipt, activity->what)) {
    receipt.stuck.push_back(
        {Stuck::What::kPlugin, activity->what, now - activity->since, stack_of(activity->thread)});
  }
  ForEachServer([&](Server& server) {
    for (const CallInfo& call : server.calls().Calls(kMaxStuck)) {
      receipt.stuck.push_back({Stuck::What::kCall, call.method, now - call.began,
                               stack_of(call.thread != 0 ? call.thread : call.runs_in)});
    }
  });
  if (!receipt.stuck.empty()) return;
  // Nobody holds it up, but there was no time to close anything.
  for (const auto& hosted : hosted_) {
    receipt.stuck.push_back({Stuck::What::kPlugin,
                             "server " + hosted->name() + ": closing",
                             now - loop_.lifecycle().stage_began(),
                             {}});
  }
}

template <class F>
void HostLoop::ForEachHosted(F action) const {
  if (!started_ || stopping_plugins_) return;
  for (const auto& hosted : hosted_) {
    if (hosted->server() != nullptr) action(*hosted, *hosted->server());
  }
}

template <class F>
void HostLoop::ForEachServer(F action) const {
  ForEachHosted([&](const HostedServer&, Server& server) { action(server); });
}

int64_t HostLoop::InFlight() const {
  int64_t in_flight = 0;
  ForEachServer([&](Server& server) { in_flight += server.calls().in_flight(); });
  return in_flight;
}

uint64_t HostLoop::Ended() const {
  uint64_t ended = 0;
  ForEachServer([&](Server& server) {
    const auto in_flight = static_cast<uint64_t>(std::max<int64_t>(0, server.calls().in_flight()));
    ended += server.calls().total() - in_flight;
  });
  return ended;
}

Instant HostLoop::last_began() const {
  Instant last{};
  ForEachServer([&](Server& server) { last = std::max(last, server.calls().last_began()); });
  return last;
}

HostReport HostLoop::Report() {
  constexpr size_t kOldest = 10;
  HostReport report{loop_.stage(), {}, inspector_.frozen()};
  // Whom a stop waits for; else it would be a copy of everybody's name for nobody.
  const size_t oldest = IsStopping(report.stage) ? kOldest : 0;
  ForEachHosted([&](const HostedServer& hosted, Server& server) {
    report.servers.push_back(
        {server.name(), server.serving(), server.accepting(), server.calls().in_flight(),
         server.calls().total(), server.CountConnections(), server.calls().methods(),
         server.calls().Calls(oldest), inspector_.CountStalled(server.name()),
         inspector_.HeldBy(server.name()), server.canary(), hosted.offloads()});
  });
  return report;
}

void HostLoop::Dump() {
  Say(LogLevel::kWarning, "dump: stage " + std::string(Name(loop_.stage())) + ", " +
                              std::to_string(InFlight()) + " calls in flight");
  const Instant now = clock_.Now();
  ForEachServer([&](Server& server) {
    for (const CallInfo& call : server.calls().Calls(100)) {
      Say(LogLevel::kWarning, "dump: " + server.name() + " " + call.method + " from " +
                                  call.client() + " for " + FormatDuration(now - call.began));
    }
  });
  for (const ThreadStack& thread : AllStacks()) {
    Say(LogLevel::kWarning, "dump: thread " + std::to_string(thread.id) + " " + thread.name);
    for (const std::string& frame : thread.frames) Say(LogLevel::kWarning, "dump:   " + frame);
  }
}

}  // namespace lastcall
