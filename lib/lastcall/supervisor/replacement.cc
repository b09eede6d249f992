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

Member* Supervisor::Named(std::string_view name) {
  for (Member& member : members_) {
    if (member.spec.name == name && !member.removed) return &member;
  }
  return nullptr;
}

void Supervisor::SetOptions(const Options& options) {
  options_ = options;
  lifecycle_.Configure(options.shutdown);
}

void Supervisor::SetSpec(ProcessSpec spec) {
  Member* const member = Named(spec.name);
  if (member != nullptr && !member->successor) member->spec = std::move(spec);
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
    if (change.kind != Change::Kind::kAdd && Named(change.spec.name) == nullptr) {
      return Fail(Code::kNotFound, "no process \"" + change.spec.name + "\"");
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
  if (change.kind != Change::Kind::kAdd && Named(change.spec.name) == nullptr) {
    return ChangeIsOver(change.spec.name, "it was removed meanwhile", 0);
  }
  BeginChange(change);
}

void Supervisor::BeginChange(Change& change) {
  if (change.kind == Change::Kind::kAdd) {
    Member& member = members_.emplace_back();
    member.spec = change.spec;
    member.added = true;
    return BeginStart(member);
  }
  Member& member = *Named(change.spec.name);
  if (change.kind == Change::Kind::kRemove) {
    member.removed = true;
    member.spec.make = nullptr;  // and the sockets that it holds
    for (const std::string& server : member.spec.servers) draining_.erase(server);
    if (member.phase == Phase::kWaiting) SetPhase(member, Phase::kDown);
    if (member.phase != Phase::kDown) Retire(member, jobs_.front().by, false);
    return ChangeIsOver(member.spec.name, "", 0);
  }
  // One that waits to be started again need not wait any longer.
  if (member.phase == Phase::kWaiting) SetPhase(member, Phase::kDown);
  member.successor.emplace();
  member.successor->spec = change.spec.make ? change.spec : member.spec;
  member.successor->by = jobs_.front().by;
  BeginIncarnation(member, *member.successor, member.successor->spec);
  observer_.Changed();
}

// The successor is ready: it accepts, the old one stays able to for a while.
void Supervisor::TakeOver(Member& member) {
  Successor& successor = *member.successor;
  Accept(successor);
  successor.took_over = true;
  if (member.phase != Phase::kRunning) return Promote(member);
  member.process->Accept(false);
  successor.until = After(clock_.Now(), options_.settle);
}

// The successor has proved itself; the old one retires, if it is still there.
void Supervisor::Promote(Member& member) {
  const Cause by = member.successor->by;
  if (member.phase != Phase::kDown) Retire(member, by, true);
  member.spec = std::move(member.successor->spec);
  static_cast<Incarnation&>(member) = std::move(static_cast<Incarnation&>(*member.successor));
  member.until = kNever;
  member.successor.reset();
  ChangeIsOver(member.spec.name, "", member.number);
}

// The current incarnation goes to the retired ones, with a plan of its own.
void Supervisor::Retire(Member& member, const Cause& by, bool replaced) {
  Incarnation& incarnation =
      member.retired.emplace_back(std::move(static_cast<Incarnation&>(member)));
  static_cast<Incarnation&>(member) = Incarnation{};
  incarnation.replaced_by = Describe(by);
  // Hurried: more of them than may be kept, oldest first.
  const size_t surplus = member.retired.size() - std::min(member.retired.size(), options_.keep);
  for (size_t i = 0; i < member.retired.size(); ++i) {
    Incarnation& each = member.retired[i];
    const bool hurried = i < surplus;
    if (!hurried && &each != &incarnation) continue;
    Ledger ledger({.delay = Duration::zero(),
                   .grace = hurried ? Duration::zero() : options_.retire,
                   .cancel = options_.shutdown.cancel});
    Request request = RequestNow(by, clock_);
    if (hurried) request.cause.reason = "more retired incarnations than [reload] keep";
    ledger.Add(std::move(request), Stage::kServing);
    const Plan& plan = ledger.plan();
    const Instant until = plan.end == kNever ? kNever : After(plan.end, kOverdue);
    SetPhase(each, Phase::kStopping, std::min(until, &each == &incarnation ? kNever : each.until));
    if (replaced && &each == &incarnation) {
      each.process->BeginRetire(plan, ledger.entries());
    }
    if (hurried || !replaced) each.process->BeginStop(plan, ledger.entries());
  }
}

void Supervisor::SuccessorFailed(Member& member, const std::string& why) {
  const bool took_over = member.successor->took_over;
  const uint32_t number = member.successor->number;
  member.successor.reset();
  const bool gone = member.phase == Phase::kDown;
  const bool again = gone && !member.stays_down;
  log_(LogLevel::kError, "process " + member.spec.name + ": incarnation " + std::to_string(number) +
                             " " + (took_over ? "did not settle: " : "did not start: ") + why +
                             (again  ? "; the old one is restarted"
                              : gone ? "; the process stays down"
                                     : "; the old one goes on"));
  if (again) {
    ++member.restarts;
    BeginStart(member);
  }
  // One that starts or stops goes on from its own event.
  if (took_over && member.phase == Phase::kRunning) member.process->Accept(true);
  ChangeIsOver(member.spec.name, why, member.number);
}

void Supervisor::ChangeIsOver(const std::string& process, std::string failure, uint32_t number) {
  if (jobs_.empty()) return;
  Job& job = jobs_.front();
  const bool failed = !failure.empty();
  job.outcomes.push_back({process, std::move(failure), number});
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
          {job.changes[job.outcomes.size()].spec.name, "interrupted by shutdown", 0});
    }
    if (job.changed) job.changed(job.outcomes);
  }
}

}  // namespace lastcall
