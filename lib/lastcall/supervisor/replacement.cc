// How the supervisor changes processes while they serve: a successor starts beside the old one, takes
// over its sockets, and only then does the old one retire.
#include <algorithm>
#include <iterator>
#include <utility>

#include "lastcall/supervisor/supervisor.h"

namespace lastcall {
namespace {

// A retired incarnation ends itself at its last instant; one that does not is killed this much later.
constexpr Duration kOverdue = std::chrono::seconds(1);

}  // namespace

Supervisor::State* Supervisor::Named(std::string_view name) {
  for (State& state : members_) {
    if (state.member.name == name && !state.removed) return &state;
  }
  return nullptr;
}

void Supervisor::SetOptions(const Options& options) {
  options_ = options;
  lifecycle_.Configure(options.shutdown);
}

void Supervisor::SetMember(Member member) {
  State* const state = Named(member.name);
  if (state != nullptr && !state->successor) state->member = std::move(member);
}

Result<> Supervisor::CheckServing() const {
  if (lifecycle_.stage() == Stage::kServing) return {};
  return Fail(Code::kFailedPrecondition, IsStopping(lifecycle_.stage())
                                             ? "a shutdown is in progress"
                                             : "the daemon is starting");
}

Result<> Supervisor::BeginChanges(std::vector<Change> changes, const Cause& by, Changed changed) {
  if (auto serving = CheckServing(); !serving) return serving;
  for (const Change& change : changes) {
    if (change.kind != Change::Kind::kAdd && Named(change.member.name) == nullptr) {
      return Fail(Code::kNotFound, "no process \"" + change.member.name + "\"");
    }
  }
  jobs_.push_back({std::move(changes), by, std::move(changed), {}});
  if (jobs_.size() == 1) NextChange();
  return {};
}

void Supervisor::NextChange() {
  Job& job = jobs_.front();
  if (job.outcomes.size() == job.changes.size()) return EndJob();
  Change& change = job.changes[job.outcomes.size()];
  // An earlier change may have removed it meanwhile.
  if (change.kind != Change::Kind::kAdd && Named(change.member.name) == nullptr) {
    return ChangeIsOver(change.member.name, "it was removed meanwhile", 0);
  }
  BeginChange(change);
}

void Supervisor::BeginChange(Change& change) {
  if (change.kind == Change::Kind::kAdd) {
    State& state = members_.emplace_back();
    state.member = change.member;
    state.added = true;
    return BeginStart(state);
  }
  State& state = *Named(change.member.name);
  if (change.kind == Change::Kind::kRemove) {
    state.removed = true;
    state.member.make = nullptr;  // and the sockets that it holds
    for (const std::string& server : state.member.servers) draining_.erase(server);
    if (state.phase == Phase::kWaiting) SetPhase(state, Phase::kDown);
    if (state.phase != Phase::kDown) Retire(state, jobs_.front().by, false);
    return ChangeIsOver(state.member.name, "", 0);
  }
  // One that waits to be started again need not wait any longer.
  if (state.phase == Phase::kWaiting) SetPhase(state, Phase::kDown);
  state.successor.emplace();
  state.successor->member = change.member.make ? change.member : state.member;
  state.successor->by = jobs_.front().by;
  BeginLife(state, *state.successor, state.successor->member);
  observer_.Changed();
}

// The successor is ready: it accepts, the old one stays able to for a while.
void Supervisor::TakeOver(State& state) {
  Successor& successor = *state.successor;
  Accept(successor);
  successor.took_over = true;
  if (state.phase != Phase::kRunning) return Promote(state);
  state.process->Accept(false);
  successor.until = After(clock_.Now(), options_.settle);
}

// The successor has proved itself; the old one retires, if it still lives.
void Supervisor::Promote(State& state) {
  const Cause by = state.successor->by;
  if (state.phase != Phase::kDown) Retire(state, by, true);
  state.member = std::move(state.successor->member);
  static_cast<Life&>(state) = std::move(static_cast<Life&>(*state.successor));
  state.until = kNever;
  state.successor.reset();
  ChangeIsOver(state.member.name, "", state.incarnation);
}

// The current life goes to the retired ones, with a plan of its own.
void Supervisor::Retire(State& state, const Cause& by, bool replaced) {
  Life& life = state.retired.emplace_back(std::move(static_cast<Life&>(state)));
  static_cast<Life&>(state) = Life{};
  life.replaced_by = Describe(by);
  // Hurried: more of them than may be kept, oldest first.
  const size_t surplus = state.retired.size() - std::min(state.retired.size(), options_.keep);
  for (size_t i = 0; i < state.retired.size(); ++i) {
    Life& each = state.retired[i];
    const bool hurried = i < surplus;
    if (!hurried && &each != &life) continue;
    Ledger ledger({.delay = Duration::zero(),
                   .grace = hurried ? Duration::zero() : options_.retire,
                   .cancel = options_.shutdown.cancel});
    Request request = RequestNow(by, clock_);
    if (hurried) request.cause.reason = "more retired incarnations than [reload] keep";
    ledger.Add(std::move(request), Stage::kServing);
    const Plan& plan = ledger.plan();
    const Instant until = plan.end == kNever ? kNever : After(plan.end, kOverdue);
    SetPhase(each, Phase::kStopping, std::min(until, &each == &life ? kNever : each.until));
    if (replaced && &each == &life) {
      each.process->BeginRetire(plan, ledger.entries());
    }
    if (hurried || !replaced) each.process->BeginStop(plan, ledger.entries());
  }
}

void Supervisor::SuccessorFailed(State& state, const std::string& why) {
  const bool took_over = state.successor->took_over;
  const uint32_t incarnation = state.successor->incarnation;
  state.successor.reset();
  const bool gone = state.phase == Phase::kDown;
  const bool again = gone && !state.stays_down;
  log_(LogLevel::kError, "process " + state.member.name + ": incarnation " +
                             std::to_string(incarnation) + " " +
                             (took_over ? "did not settle: " : "did not start: ") + why +
                             (again  ? "; the old one is started again"
                              : gone ? "; the process stays down"
                                     : "; the old one goes on"));
  if (again) {
    ++state.restarts;
    BeginStart(state);
  }
  // One that starts or stops goes on from its own event.
  if (took_over && state.phase == Phase::kRunning) state.process->Accept(true);
  ChangeIsOver(state.member.name, why, state.incarnation);
}

void Supervisor::ChangeIsOver(const std::string& process, std::string failure,
                              uint32_t incarnation) {
  if (jobs_.empty()) return;
  Job& job = jobs_.front();
  const bool failed = !failure.empty();
  job.outcomes.push_back({process, std::move(failure), incarnation});
  failed ? EndJob() : NextChange();
}

void Supervisor::EndJob() {
  const Job job = std::move(jobs_.front());
  jobs_.pop_front();
  if (job.changed) job.changed(job.outcomes);
  if (!jobs_.empty()) NextChange();
  observer_.Changed();
}

// A shutdown wins.
void Supervisor::AbandonChanges() {
  for (Job& job : std::exchange(jobs_, {})) {
    if (job.outcomes.size() < job.changes.size()) {
      job.outcomes.push_back(
          {job.changes[job.outcomes.size()].member.name, "interrupted by shutdown", 0});
    }
    if (job.changed) job.changed(job.outcomes);
  }
}

}  // namespace lastcall
