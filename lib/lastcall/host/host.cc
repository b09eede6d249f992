#include "lastcall/host/host.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <utility>

#include "lastcall/event/inbox.h"
#include "lastcall/host/plugin_thread.h"
#include "lastcall/host/site.h"
#include "lastcall/host/stack.h"

namespace lastcall {
namespace {

// Telling to leave is spread over the first half of grace; over this long where grace has no end.
constexpr Duration kLongestSpread = std::chrono::seconds(30);

constexpr int kCannotBind = 69;
constexpr int kInternal = 70;
constexpr int kBadConfiguration = 78;

void LogToStderr(LogLevel level, std::string_view message) {
  if (level < LogLevel::kWarning) return;
  std::fprintf(stderr, "%.*s\n", static_cast<int>(message.size()), message.data());
}

int ExitCodeFor(const Error& error) {
  if (IsConfiguration(error.code)) return kBadConfiguration;
  const bool address = error.code == Code::kAlreadyExists || error.code == Code::kPermissionDenied;
  return address ? kCannotBind : kInternal;
}

HostObserver& SilentObserver() {
  static HostObserver silent;  // has no state
  return silent;
}

}  // namespace

// Everything becomes an event in the inbox; the thread in Run reads it, and it alone touches what is
// below. Methods named On… run there.
class Host::Loop {
 public:
  explicit Loop(HostOptions options)
      : options_(std::move(options)),
        observer_(options_.observer != nullptr ? *options_.observer : SilentObserver()),
        log_(options_.log ? options_.log : LogToStderr),
        lifecycle_(options_.shutdown, clock_.Now()) {}

  void Add(HostServer server) { sites_.push_back(std::make_unique<Site>(std::move(server))); }
  void Post(std::function<void()> event) { inbox_.Post(std::move(event)); }
  Termination termination() const { return termination_.view(); }
  const Receipt& receipt() const { return receipt_; }
  const Clock& clock() const { return clock_; }

  int Run();
  void OnRequest(Request request);
  void OnAdopt(const Plan& plan, std::vector<Ledger::Entry> entries);
  void OnAccepting(bool accepting);
  void OnDraining(const std::string& server, bool draining);
  HostReport Report();
  void OnDump();

 private:
  void OnSignal(const ReceivedSignal& signal);
  void OnStarted(const Result<>& started);
  void OnIdle();
  void OnRetired();
  void OnPluginsStopped();

  void Apply(const Lifecycle::Changes& changes);
  void Enter(const Lifecycle::Change& change);
  void EnterGrace();
  void EnterCancel();
  void EnterStopped(Happening why);
  void FirstRequest();
  void StartSites();
  void BeginRetire(Instant leave_by);
  void StopPlugins();
  void UpdateHealth();
  void ListCancelled();
  void ListStuck();
  void MakeReceipt();
  template <class F>
  void ForEachServer(F action);
  int64_t InFlight();
  uint64_t Ended();
  Instant QuietAt();
  void Say(LogLevel level, const std::string& message) { log_(level, message); }

  const SteadyClock clock_;
  const HostOptions options_;
  HostObserver& observer_;
  const Log log_;
  Inbox<std::function<void()>> inbox_;
  TerminationSource termination_;
  SignalTable signal_table_;
  Lifecycle lifecycle_;
  std::vector<std::unique_ptr<Site>> sites_;  // the plugin thread's while it starts and stops them
  std::atomic<bool> abandon_start_{false};
  bool started_ = false;   // the plugin thread is done with starting
  bool stopping_plugins_ = false;
  bool may_accept_ = false;
  bool retiring_ = false;
  size_t not_retired_ = 0;
  std::optional<Error> start_error_;
  Instant first_request_{};
  uint64_t ended_before_ = 0;  // calls that had ended when the first request came
  Receipt receipt_;
  PluginThread plugin_thread_{clock_};
};

int Host::Loop::Run() {
  receipt_.subject = options_.name;
  receipt_.pid = getpid();
  receipt_.incarnation = options_.incarnation;
  may_accept_ = options_.accept_when_ready;
  std::optional<SignalReader> signals;
  if (options_.signals) {
    signals.emplace(
        clock_, [this](const ReceivedSignal& signal) { Post([this, signal] { OnSignal(signal); }); },
        *options_.signals);
  }
  StartSites();
  while (lifecycle_.stage() != Stage::kStopped) {
    // What has happened is heard before the clock: after a pause of the process both are due.
    if (const auto event = inbox_.TakeUntil(std::min(lifecycle_.next_instant(), QuietAt()))) {
      (*event)();
      continue;
    }
    if (QuietAt() <= clock_.Now()) Apply(lifecycle_.Happened(Happening::kWentQuiet, clock_.Now()));
    Apply(lifecycle_.Advance(clock_.Now()));
  }
  return receipt_.exit_code;
}

void Host::Loop::StartSites() {
  plugin_thread_.Post([this] {
    const Site::Surroundings surroundings{
        clock_, log_, termination_.view(),
        [this](Request request) {
          Post([this, request = std::move(request)] {
            if (!observer_.TakesRequest(request)) OnRequest(request);
          });
        },
        [this] { Post([this] { OnIdle(); }); }};
    Result<> started;
    for (const auto& site : sites_) {
      started = site->Start(plugin_thread_, surroundings, abandon_start_);
      if (!started) break;
    }
    Post([this, started] { OnStarted(started); });
  });
}

void Host::Loop::OnStarted(const Result<>& started) {
  started_ = true;
  if (!started) {
    start_error_ = started.error();
    Say(LogLevel::kError, started.error().message);
    observer_.StartFailed(started.error());
    // What was started before is stopped in the cancel stage, like after any request.
    Request request;
    request.cause = {.kind = Cause::Kind::kProcess, .who = options_.name, .reason = "cannot start"};
    request.at = clock_.Now();
    request.wall = clock_.Wall();
    if (lifecycle_.stage() == Stage::kStarting) OnRequest(std::move(request));
  }
  if (lifecycle_.stage() == Stage::kCancel) {
    BeginRetire(clock_.Now());
    return;
  }
  observer_.Ready();
  Apply(lifecycle_.Happened(Happening::kBecameReady, clock_.Now()));
}

void Host::Loop::OnSignal(const ReceivedSignal& signal) {
  const SignalAction action = signal_table_.Decide(signal, lifecycle_.stage());
  switch (action) {
    case SignalAction::kDump:
      return OnDump();
    case SignalAction::kReload:
      return Say(LogLevel::kWarning, "SIGHUP: this process has no configuration to reload");
    case SignalAction::kRefuseReload:
      return Say(LogLevel::kWarning, "SIGHUP: refused, for a shutdown is under way");
    default:
      return OnRequest(RequestOf(signal, action));
  }
}

void Host::Loop::OnRequest(Request request) {
  FirstRequest();
  const std::string who = Describe(request.cause);
  bool moved = false;
  const auto changes = lifecycle_.RequestStop(std::move(request), clock_.Now(), &moved);
  Say(LogLevel::kInfo, "stop requested by " + who + (moved ? "" : "; the plan stays as it was"));
  Apply(changes);
}

void Host::Loop::OnAdopt(const Plan& plan, std::vector<Ledger::Entry> entries) {
  FirstRequest();
  Apply(lifecycle_.Adopt(plan, std::move(entries), clock_.Now()));
}

void Host::Loop::FirstRequest() {
  if (!lifecycle_.ledger().empty()) return;
  first_request_ = clock_.Now();
  receipt_.began = clock_.Wall();
  if (started_) ended_before_ = Ended();
}

void Host::Loop::OnAccepting(bool accepting) {
  may_accept_ = accepting;
  if (!Accepts(lifecycle_.stage())) return;
  ForEachServer([&](Server& server) { server.Accept(accepting); });
}

void Host::Loop::OnDraining(const std::string& name, bool draining) {
  for (const auto& site : sites_) {
    if (site->name() == name) site->set_draining(draining);
  }
  UpdateHealth();
}

void Host::Loop::UpdateHealth() {
  if (!started_ || stopping_plugins_) return;
  for (const auto& site : sites_) {
    if (site->server() == nullptr) continue;
    site->server()->SetServing(lifecycle_.stage() == Stage::kServing && !site->draining());
  }
}

void Host::Loop::Apply(const Lifecycle::Changes& changes) {
  for (const Lifecycle::Change& change : changes) Enter(change);
  termination_.SetPlan(lifecycle_.plan());
}

void Host::Loop::Enter(const Lifecycle::Change& change) {
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
  if (change.entered == Stage::kStopped) EnterStopped(change.why);
  observer_.StageEntered(change.entered);
}

void Host::Loop::EnterGrace() {
  const Instant now = clock_.Now();
  const Instant cancel = lifecycle_.plan().cancel;
  BeginRetire(After(now, cancel == kNever ? kLongestSpread : Duration(cancel - now) / 2));
  ForEachServer([](Server& server) { server.WatchIdle(); });
  // As an event, for this is in the middle of a change.
  Post([this] { OnIdle(); });
}

void Host::Loop::BeginRetire(Instant leave_by) {
  retiring_ = true;
  ForEachServer([&](Server& server) {
    ++not_retired_;
    server.BeginRetire(leave_by, [this] { Post([this] { OnRetired(); }); });
    if (lifecycle_.stage() == Stage::kCancel) server.Cancel();
  });
  if (not_retired_ == 0 && lifecycle_.stage() == Stage::kCancel) StopPlugins();
}

void Host::Loop::OnIdle() {
  if (stopping_plugins_ || InFlight() > 0) return;
  Apply(lifecycle_.Happened(Happening::kWentIdle, clock_.Now()));
}

void Host::Loop::OnRetired() {
  if (--not_retired_ == 0 && lifecycle_.stage() == Stage::kCancel) StopPlugins();
}

void Host::Loop::EnterCancel() {
  abandon_start_.store(true);
  if (!started_) return;  // OnStarted goes on from here
  ListCancelled();
  ForEachServer([](Server& server) { server.Cancel(); });
  if (not_retired_ == 0 && retiring_) StopPlugins();
}

void Host::Loop::StopPlugins() {
  receipt_.calls_finished = Ended() - ended_before_ - receipt_.calls_cancelled;
  stopping_plugins_ = true;
  plugin_thread_.Post([this, by = Deadline(lifecycle_.plan().end)] {
    for (auto site = sites_.rbegin(); site != sites_.rend(); ++site) (*site)->Stop(plugin_thread_, by);
    Post([this] { OnPluginsStopped(); });
  });
}

void Host::Loop::OnPluginsStopped() {
  Apply(lifecycle_.Happened(Happening::kWasDone, clock_.Now()));
}

void Host::Loop::EnterStopped(Happening why) {
  if (why == Happening::kInstantPassed) ListStuck();
  MakeReceipt();
  observer_.Finished(receipt_);
  Say(receipt_.exit_code == 0 ? LogLevel::kInfo : LogLevel::kWarning, receipt_.Outcome());
  if (why != Happening::kInstantPassed) return;
  // Somebody does not return: nothing may be destroyed under his feet.
  Say(LogLevel::kWarning, receipt_.ToJson());
  _exit(Receipt::kForced);
}

void Host::Loop::ListCancelled() {
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

void Host::Loop::ListStuck() {
  constexpr size_t kMaxStacks = 20;  // each may take a tenth of a second
  const Instant now = clock_.Now();
  if (const auto activity = plugin_thread_.activity()) {
    receipt_.stuck.push_back({Stuck::What::kPlugin, activity->what, now - activity->since,
                              StackOf(activity->thread)});
  }
  if (!started_ || stopping_plugins_) return;
  for (const auto& site : sites_) {
    if (site->server() == nullptr) continue;
    for (const CallInfo& call : site->server()->calls().Calls(kMaxStacks)) {
      receipt_.stuck.push_back({Stuck::What::kCall, call.method, now - call.began,
                                call.thread != 0 ? StackOf(call.thread) : std::vector<std::string>{}});
    }
  }
}

void Host::Loop::MakeReceipt() {
  receipt_.took = clock_.Now() - first_request_;
  receipt_.requests = lifecycle_.ledger().entries();
  receipt_.stages = lifecycle_.records();
  const bool forced = !receipt_.stages.empty() && receipt_.stages.back().stage == Stage::kCancel &&
                      receipt_.stages.back().ended_by == Happening::kInstantPassed;
  receipt_.exit_code = forced                         ? Receipt::kForced
                       : start_error_                 ? ExitCodeFor(*start_error_)
                       : receipt_.calls_cancelled > 0 ? Receipt::kCallsCancelled
                                                      : Receipt::kAllFinished;
}

template <class F>
void Host::Loop::ForEachServer(F action) {
  if (!started_ || stopping_plugins_) return;
  for (const auto& site : sites_) {
    if (site->server() != nullptr) action(*site->server());
  }
}

int64_t Host::Loop::InFlight() {
  int64_t in_flight = 0;
  ForEachServer([&](Server& server) { in_flight += server.calls().in_flight(); });
  return in_flight;
}

uint64_t Host::Loop::Ended() {
  uint64_t ended = 0;
  ForEachServer([&](Server& server) {
    const auto in_flight = static_cast<uint64_t>(std::max<int64_t>(0, server.calls().in_flight()));
    ended += server.calls().total() - in_flight;
  });
  return ended;
}

Instant Host::Loop::QuietAt() {
  if (!options_.quiet || lifecycle_.stage() != Stage::kDelay) return kNever;
  Instant last = lifecycle_.stage_began();
  ForEachServer([&](Server& server) { last = std::max(last, server.calls().last_began()); });
  return After(last, *options_.quiet);
}

HostReport Host::Loop::Report() {
  HostReport report{lifecycle_.stage(), {}};
  ForEachServer([&](Server& server) {
    report.servers.push_back({server.name(), server.serving(), server.accepting(),
                              server.calls().in_flight(), server.calls().total(),
                              server.CountConnections(), server.calls().methods()});
  });
  return report;
}

void Host::Loop::OnDump() {
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

Host::Host(HostOptions options) : loop_(std::make_unique<Loop>(std::move(options))) {}
Host::~Host() = default;

Result<> Host::AddServer(HostServer server) {
  for (const std::string& text : server.listen) {
    const auto address = Address::Parse(text);
    if (!address) return tl::unexpected(address.error());
    auto listener = Listener::Bind(*address);
    if (!listener) return tl::unexpected(listener.error());
    server.listeners.push_back(std::move(*listener));
  }
  loop_->Add(std::move(server));
  return {};
}

int Host::Refuse(const Error& error) const {
  LogToStderr(LogLevel::kError, error.message);
  return ExitCodeFor(error);
}

int Host::Run() { return loop_->Run(); }

void Host::Shutdown(std::string reason, std::optional<Duration> delay,
                    std::optional<Duration> grace, std::optional<Duration> cancel) {
  Request request;
  request.cause = {.kind = Cause::Kind::kProgram, .reason = std::move(reason)};
  request.at = loop_->clock().Now();
  request.wall = loop_->clock().Wall();
  request.delay = delay;
  request.grace = grace;
  request.cancel = cancel;
  RequestStop(std::move(request));
}

void Host::RequestStop(Request request) {
  loop_->Post([loop = loop_.get(), request = std::move(request)] { loop->OnRequest(request); });
}

void Host::Adopt(const Plan& plan, std::vector<Ledger::Entry> entries) {
  loop_->Post([loop = loop_.get(), plan, entries = std::move(entries)] { loop->OnAdopt(plan, entries); });
}

void Host::SetAccepting(bool accepting) {
  loop_->Post([loop = loop_.get(), accepting] { loop->OnAccepting(accepting); });
}

void Host::SetDraining(std::string server, bool draining) {
  loop_->Post([loop = loop_.get(), server = std::move(server), draining] {
    loop->OnDraining(server, draining);
  });
}

void Host::Inspect(std::function<void(const HostReport&)> look) {
  loop_->Post([loop = loop_.get(), look = std::move(look)] { look(loop->Report()); });
}

void Host::Dump() {
  loop_->Post([loop = loop_.get()] { loop->OnDump(); });
}

Termination Host::termination() const { return loop_->termination(); }

const Receipt& Host::receipt() const { return loop_->receipt(); }

}  // namespace lastcall
