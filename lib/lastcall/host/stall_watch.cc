#include "lastcall/host/stall_watch.h"

#include <unistd.h>

#include <algorithm>
#include <set>
#include <utility>

#include "lastcall/host/wait_text.h"
#include "lastcall/threads/thread_stack.h"

namespace lastcall {
namespace {

// A pause that is worth a line.
constexpr Duration kLongPause = std::chrono::seconds(1);
// How long all callback threads must be held until that is said.
constexpr Duration kFrozen = std::chrono::milliseconds(500);
// A server that is full is said again when it has been for twice as long as it was, or this.
constexpr Duration kFullAtLeast = std::chrono::seconds(5);
// How often it is said that there was more.
constexpr Duration kSaidMore = std::chrono::minutes(1);
// What tells one place in the code from another.
constexpr size_t kTopFrames = 4;
// Stacks that are taken in one look.
constexpr size_t kMostStacks = 20;

StallCause CauseOf(const Doing& doing) {
  switch (doing.what) {
    case Doing::What::kOnCpu: return StallCause::kOnCpu;
    case Doing::What::kBlocked: return StallCause::kBlocked;
    case Doing::What::kStarved: return StallCause::kStarved;
    case Doing::What::kPaused: return StallCause::kPaused;
    case Doing::What::kUnknown:
    case Doing::What::kGone: break;
  }
  return StallCause::kUnknown;
}

Duration Queued() {
  const auto turns = ParseTurns(ReadThreadFile(gettid(), "schedstat").text);
  return turns ? turns->waited : Duration::zero();
}

std::string Signature(const StallWatch::Stall& stall) {
  std::string signature =
      stall.server + stall.method + std::to_string(static_cast<int>(stall.cause));
  for (size_t i = 0; i < std::min(kTopFrames, stall.stack.size()); ++i) {
    signature += WithoutOffset(stall.stack[i]);
  }
  return signature;
}

}  // namespace

StallWatch::StallWatch(Parts parts)
    : parts_(std::move(parts)),
      wake_{.planned = parts_.clock.Now() + kPeriod},
      frozen_judge_(parts_.frozen_after) {}

void StallWatch::Look(const View& view, bool serving) {
  const Find& find = view.find;
  const bool says = serving;
  const Instant now = parts_.clock.Now();
  if (now >= profile_.due()) TakeSample(now, says);
  if (now < wake_.planned) return;
  before_ = std::exchange(now_, now);
  LookAtItself(says);
  last_samples_ = std::exchange(samples_, {});
  last_stalls_ = std::exchange(stalls_, {});
  stacks_ = 0;
  callback_threads_.Look(now_);
  const auto suspects = find([this](const LiveCall& call) { return IsSuspect(call); });
  CountPossible(suspects, find);
  for (const Living& living : suspects) Judge(living);
  JudgeCallbackThreads(says);
  full_servers_.Look(now_, forgiven_, view.crowds());
  JudgeProcess(view, serving);
  if (!says) return;
  ReportFull();
  for (const Living& living : suspects) {
    const auto stall = stalls_.find(living.number);
    if (stall != stalls_.end()) Report(living, stall->second);
  }
  ReportSuppressed();
  ForgetEnded();
}

// Where the process stood still, no call could make progress, and no handler is to blame.
void StallWatch::LookAtItself(bool says) {
  const Duration queued = Queued(), process_ran = ProcessCpuTime();
  wake_.woke = now_;
  wake_.queued = queued - std::exchange(queued_, queued);
  wake_.process_ran = process_ran - std::exchange(process_ran_, process_ran);
  const Lateness lateness = JudgeLateness(wake_);
  lateness_ = lateness.cause;
  if (lateness.cause == Lateness::Cause::kPaused) {
    forgiven_ = now_;
    if (says && lateness.length >= kLongPause) {
      Say("paused: " + Describe(lateness) + " (a signal, a debugger, or the machine)", {});
    }
  }
  wake_.planned = now_ + kPeriod;
}

Duration StallWatch::IdleOf(const LiveCall& call) const {
  return now_ - std::max(call.progressed(), forgiven_);
}

// One look earlier than it is stalled, so that there are two looks then.
bool StallWatch::IsSuspect(const LiveCall& call) const {
  const CountedMethod::Stall& rule = call.method().stall;
  if (rule.after == kForever || IdleOf(call) < rule.after - kPeriod) return false;
  switch (call.waits()) {
    case CallWaits::kClient:
    case CallWaits::kInput: return rule.own;
    case CallWaits::kFinish: return false;
    case CallWaits::kHandler: break;
  }
  // A reactor of a stream may wait for something of its own, unless it holds a thread meanwhile.
  return call.thread() != 0 || call.runs_in() != 0 || call.kind() == CallKind::kUnary || rule.own ||
         !callback_threads_.held().empty();
}

void StallWatch::Judge(const Living& living) {
  const LiveCall& call = *living.call;
  Stall stall{.server = living.server, .method = living.method, .idle = IdleOf(call)};
  const CallWaits waits = call.waits();
  if (waits == CallWaits::kClient || waits == CallWaits::kInput) {
    stall.cause = waits == CallWaits::kClient ? StallCause::kClient : StallCause::kInput;
    stall.why = WaitText(waits);
  } else if (const pid_t thread = call.thread() != 0 ? call.thread() : call.runs_in()) {
    JudgeThread(thread, living.number, stall);
  } else {
    JudgeReactor(living, stall);
  }
  // What it is at may have changed while it was looked at.
  if (stall.why.empty() || IdleOf(call) < living.rule.after || call.waits() != waits) return;
  stalls_.emplace(living.number, std::move(stall));
}

void StallWatch::JudgeThread(pid_t thread, uint64_t number, Stall& stall) {
  stall.thread_known = true;
  stall.thread = thread;
  const ThreadSample& sample = samples_[number] = lastcall::Look(thread);
  const auto before = last_samples_.find(number);
  if (before == last_samples_.end() || before->second.thread != thread) return;
  const Doing doing = lastcall::Judge(before->second, sample);
  stall.cause = CauseOf(doing);
  stall.why = Describe(doing, NamedDescriptorsOf(doing.place), stall.idle);
  TakeStackOf(thread, number, stall);
}

// Again when the stall has become twice as long, as it is reported; and few in one look, for to name
// one takes a millisecond.
void StallWatch::TakeStackOf(pid_t thread, uint64_t number, Stall& stall) {
  const auto last = last_stalls_.find(number);
  if (last != last_stalls_.end() && last->second.stack_taken > Duration::zero() &&
      last->second.cause == stall.cause && stall.idle < 2 * last->second.stack_taken) {
    stall.stack = std::move(last->second.stack);
    stall.stack_taken = last->second.stack_taken;
    stall.moved = last->second.moved;
    return;
  }
  if (++stacks_ > kMostStacks) return;
  const TakenStack taken = TakeStack(thread);
  stall.stack = names_.Of(taken.frames);
  if (!taken.why_not.empty()) stall.stack.push_back("(" + taken.why_not + ")");
  stall.stack_taken = stall.idle;
  stall.moved = last != last_stalls_.end() && !last->second.stack.empty() &&
                !IsSamePlace(last->second.stack, stall.stack);
}

// gRPC does not tell which thread runs it: one that is held since its last message came or went may be in
// it, and is where no other call could be meant.
void StallWatch::JudgeReactor(const Living& living, Stall& stall) {
  const LiveCall& call = *living.call;
  const CallbackThreads::Held* by = nullptr;
  size_t others = 0;
  for (const CallbackThreads::Held& held : callback_threads_.held()) {
    if (!MayBeIn(call, held)) continue;
    by = &held;
    others = possible_[held.thread] - 1;
    break;
  }
  if (by != nullptr) {
    stall.why = Describe(by->doing, NamedDescriptorsOf(by->doing.place), stall.idle);
    if (others == 0) {
      stall.cause = CauseOf(by->doing);
      stall.thread = by->thread;
    } else {
      stall.why = "it, or one of " + std::to_string(others) +
                  " others, holds a callback thread: " + stall.why;
    }
    stall.stack = by->stack;
  } else if (call.kind() == CallKind::kUnary || living.rule.own) {
    stall.cause = StallCause::kApplication;
    stall.why = "no thread runs it, and it waits for nothing of gRPC's: for something of its own";
  }
}

// One that sleeps in one place is. One that never rests may as well run one short handler after another,
// as long as any callback call makes progress.
bool StallWatch::IsCertain(const CallbackThreads::Held& held) const {
  return held.doing.what == Doing::What::kBlocked || !callbacks_progress_;
}

bool StallWatch::MayBeIn(const LiveCall& call, const CallbackThreads::Held& held) const {
  return IsCertain(held) && call.thread() == 0 && call.runs_in() == 0 &&
         call.waits() == CallWaits::kHandler && call.progressed() >= held.since - 2 * kPeriod &&
         !makes_reactor_.contains(held.thread);
}

// Which calls could be in a reactor's own thread.
void StallWatch::CountPossible(const std::vector<Living>& suspects, const Find& find) {
  possible_.clear();
  makes_reactor_.clear();
  if (callback_threads_.held().empty()) return;
  callbacks_progress_ = !find([this](const LiveCall& call) {
                           return call.thread() == 0 && now_ - call.progressed() < 2 * kPeriod;
                         }).empty();
  for (const Living& each : find([](const LiveCall& call) { return call.runs_in() != 0; })) {
    makes_reactor_[each.call->runs_in()] = each.method;
  }
  for (const CallbackThreads::Held& held : callback_threads_.held()) {
    for (const Living& each : suspects) {
      if (MayBeIn(*each.call, held)) ++possible_[held.thread];
    }
  }
}

void StallWatch::JudgeCallbackThreads(bool says) {
  const auto& held = callback_threads_.held();
  const bool frozen = !held.empty() && held.size() == callback_threads_.count() &&
                      std::all_of(held.begin(), held.end(), [this](const auto& one) {
                        return IsCertain(one) && now_ - one.since >= kFrozen;
                      });
  if (!frozen) {
    frozen_said_ = false;
    return;
  }
  if (!says || std::exchange(frozen_said_, true)) return;
  if (now_ - std::exchange(frozen_said_at_, now_) < kSaidMore) return;
  Say("frozen: " + HeldBy() + ": every callback service in process " + parts_.process +
          " is frozen",
      {});
  SayStacks();
}

std::string StallWatch::HeldBy() const {
  const auto& held = callback_threads_.held();
  std::string by;
  for (const CallbackThreads::Held& one : held) {
    const auto method = makes_reactor_.find(one.thread);
    by +=
        (by.empty() ? "" : " and ") +
        (method != makes_reactor_.end() ? method->second : "thread " + std::to_string(one.thread)) +
        " (" + Describe(one.doing, NamedDescriptorsOf(one.doing.place), now_ - one.since) + ")";
  }
  const std::string all = std::to_string(held.size());
  return all + " of " + all + " callback threads are held by " + by;
}

void StallWatch::SayStacks() const {
  for (const CallbackThreads::Held& one : callback_threads_.held()) {
    Say("frozen: thread " + std::to_string(one.thread), one.stack);
  }
}

// Held threads freeze who has nothing else to do either; that nobody gets through is the canary's to say.
void StallWatch::JudgeProcess(const View& view, bool serving) {
  const auto& held = callback_threads_.held();
  FrozenJudge::Evidence evidence{
      .serving = serving, .lateness = lateness_, .threads = callback_threads_.count()};
  for (const CallbackThreads::Held& one : held) evidence.held.push_back(one.doing.what);
  // What costs more is asked where it matters.
  if (!held.empty() && held.size() == callback_threads_.count()) {
    evidence.progress = MadeProgress(view);
    evidence.canaries = view.canaries();
  }
  const bool frozen = frozen_judge_.Look(evidence, now_);
  if (!frozen) return frozen_.clear();
  if (!frozen_.empty()) return;
  frozen_ = HeldBy() + ", and its canary is not answered";
  Say("frozen: process " + parts_.process + ", for " + FormatDuration(parts_.frozen_after) + ": " +
          frozen_,
      {});
  SayStacks();
}

// Since the look before, on any server: a process that serves somebody is not ended for others.
bool StallWatch::MadeProgress(const View& view) {
  const uint64_t turns = view.turns();
  const bool moved = std::exchange(turns_, turns) != turns;
  return moved ||
         !view.find([this](const LiveCall& call) { return call.progressed() >= before_; }).empty();
}

void StallWatch::Report(const Living& living, const Stall& stall) {
  // Without its stack, as one of very many, it would be another.
  if (stall.thread_known && stall.stack_taken == Duration::zero()) return;
  const std::string signature = Signature(stall);
  const bool again = reports_.Knows(signature) || said_.contains(living.number);
  if (!reports_.Says(signature, stall.idle, now_)) return;
  said_.insert(living.number);
  const auto info = living.call->info();
  if (!info) return;
  Say("stalled: " + stall.method + " of server " + stall.server + " has made no progress for " +
          FormatDuration(std::chrono::floor<std::chrono::milliseconds>(stall.idle)) + ": " +
          stall.why + " (call " + parts_.prefix + std::to_string(living.number) +
          (info->peer.empty() ? "" : " from " + info->client()) + ")",
      stall.stack);
  if (again) BeginProfile(living, stall);
}

void StallWatch::BeginProfile(const Living& living, const Stall& stall) {
  const bool moves =
      stall.cause == StallCause::kOnCpu || (stall.cause == StallCause::kBlocked && stall.moved);
  if (!moves || stall.thread == 0 || profile_.active()) return;
  profile_.Begin(living.number, stall.thread, now_);
  profile_names_ = {};
  profiled_ = stall.method + " of server " + stall.server + " (call " + parts_.prefix +
              std::to_string(living.number) + ")";
}

// Until it gets on, or there are enough.
void StallWatch::TakeSample(Instant now, bool says) {
  const auto stall = stalls_.find(profile_.call());
  const bool goes_on = says && stall != stalls_.end() && stall->second.thread == profile_.thread();
  if (goes_on) {
    profile_.Add(profile_names_.Of(TakeStack(profile_.thread()).frames), now);
    if (!profile_.complete()) return;
  }
  const uint64_t number = profile_.call();
  std::vector<std::string> lines = profile_.Take(now);
  if (!says || lines.empty()) return;
  Say("profile: " + profiled_ + ", " + lines[0], {});
  for (size_t i = 1; i < lines.size(); ++i) {
    parts_.log(LogLevel::kWarning, "profile:   " + lines[i]);
  }
  if (goes_on) profiles_[number] = std::move(lines);
}

std::vector<std::string> StallWatch::ProfileOf(uint64_t number) const {
  const auto found = profiles_.find(number);
  return found == profiles_.end() ? std::vector<std::string>{} : found->second;
}

void StallWatch::ForgetEnded() {
  const auto over = [this](uint64_t number) { return !stalls_.contains(number); };
  std::erase_if(said_, over);
  std::erase_if(profiles_, [&](const auto& each) { return over(each.first); });
}

void StallWatch::ReportFull() {
  for (const auto& [server, full] : full_servers_.full()) {
    if (!reports_.Says(full.signature, std::max(full.age, kFullAtLeast), now_)) continue;
    Say(full.line, {});
    for (const FullServers::Full::Thread& thread : full.threads) {
      const TakenStack taken = TakeStack(thread.id);
      std::vector<std::string> stack = names_.Of(taken.frames);
      if (!taken.why_not.empty()) stack.push_back("(" + taken.why_not + ")");
      Say("full: thread " + std::to_string(thread.id) + ", in " + thread.method, stack);
    }
  }
}

void StallWatch::ReportSuppressed() {
  if (now_ - suppressed_said_ < kSaidMore) return;
  suppressed_said_ = now_;
  if (const size_t suppressed = reports_.TakeSuppressed(); suppressed > 0) {
    Say("stalled: " + std::to_string(suppressed) +
            " more kinds of stall were not reported; lastcallctl calls --stalled lists them all",
        {});
  }
}

void StallWatch::Say(const std::string& line, const std::vector<std::string>& stack) const {
  parts_.log(LogLevel::kWarning, line);
  for (const std::string& frame : stack) parts_.log(LogLevel::kWarning, "stalled:   " + frame);
}

}  // namespace lastcall
