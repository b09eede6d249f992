#include "lastcall/host/call_inspector.h"

#include <fnmatch.h>

#include <algorithm>
#include <exception>
#include <utility>

#include "lastcall/host/stack.h"
#include "lastcall/rpc/live_call.h"

namespace lastcall {
namespace {

bool Fits(const std::string& pattern, const std::string& text) {
  return fnmatch(pattern.c_str(), text.c_str(), 0) == 0;
}

// "10.0.0.5" of "10.0.0.5:4711", "[::1]" of "[::1]:4711".
std::string WithoutPort(const std::string& peer) { return peer.substr(0, peer.rfind(':')); }

bool FitsClient(const std::string& pattern, const CallInfo& call) {
  return Fits(pattern, call.peer) || Fits(pattern, WithoutPort(call.peer)) ||
         (!call.identity.empty() && Fits(pattern, call.identity));
}

bool LetsThrough(const CallFilter& filter, const CallInfo& call, Instant now) {
  return now - call.began >= filter.older && (!filter.stalled || call.stalled) &&
         (filter.method.empty() || Fits(filter.method, call.method)) &&
         (filter.client.empty() || FitsClient(filter.client, call));
}

}  // namespace

CallInspector::CallInspector(Parts parts)
    : parts_(std::move(parts)),
      clock_(parts_.clock),
      watch_({.clock = parts_.clock,
              .log = parts_.log,
              .prefix = parts_.process + "/" + std::to_string(parts_.incarnation) + "/",
              .process = parts_.process,
              .frozen_after = parts_.frozen_after}),
      thread_([this] { Run(); }) {}

CallInspector::~CallInspector() {
  Ask(nullptr);
  thread_.join();
}

void CallInspector::Run() {
  for (;;) {
    const auto question = inbox_.TakeUntil(watch_.due());
    if (question && *question == nullptr) return;
    try {
      if (question) (*question)();
      if (clock_.Now() >= watch_.due()) Watch();
    } catch (const std::exception& error) {
      // It ends what it concerns: who asked hears nothing, and the next look is due in time.
      parts_.log(LogLevel::kError, std::string("looking at calls: ") + error.what());
    }
  }
}

void CallInspector::Watch() {
  watch_.Look(View(), serving_);
  std::map<std::string, size_t> stalled;
  for (const auto& [number, stall] : watch_.stalls()) ++stalled[stall.server];
  std::map<std::string, std::string> held_by;
  for (const auto& [server, full] : watch_.full()) held_by[server] = full.by;
  bool frozen_changed = false, stalled_changed = false;
  {
    std::lock_guard lock(mutex_);
    held_by_ = std::move(held_by);
    frozen_changed = std::exchange(frozen_, watch_.frozen()) != watch_.frozen();
    stalled_changed = stalled != stalled_;
    stalled_ = std::move(stalled);
  }
  if (frozen_changed) parts_.frozen_changed();
  if (stalled_changed) parts_.stalls_changed();
}

StallWatch::View CallInspector::View() const {
  return {.find = [this](const auto& wanted) { return Collect({}, wanted); },
          .crowds = [this] { return Crowds(); },
          .canaries =
              [this] {
                std::vector<CanaryReport> canaries;
                std::lock_guard lock(mutex_);
                for (const Served& server : served_) {
                  if (const auto canary = server.canary()) canaries.push_back(*canary);
                }
                return canaries;
              },
          .turns =
              [this] {
                uint64_t turns = 0;
                std::lock_guard lock(mutex_);
                // Each call has begun, and all but those in flight have ended.
                for (const Served& server : served_) {
                  turns +=
                      2 * server.calls->total() - static_cast<uint64_t>(server.calls->in_flight());
                }
                return turns;
              }};
}

std::string CallInspector::frozen() const {
  std::lock_guard lock(mutex_);
  return frozen_;
}

size_t CallInspector::CountStalled(const std::string& server) const {
  std::lock_guard lock(mutex_);
  const auto some = stalled_.find(server);
  return some == stalled_.end() ? 0 : some->second;
}

std::string CallInspector::HeldBy(const std::string& server) const {
  std::lock_guard lock(mutex_);
  const auto full = held_by_.find(server);
  return full == held_by_.end() ? "" : full->second;
}

void CallInspector::Inspect(std::vector<Served> servers) {
  std::lock_guard lock(mutex_);
  served_ = std::move(servers);
}

std::vector<CallInspector::Living> CallInspector::Collect(
    const std::string& server, const std::function<bool(const LiveCall&)>& wanted) const {
  std::vector<Living> living;
  std::lock_guard lock(mutex_);
  for (size_t i = 0; i < served_.size(); ++i) {
    if (!server.empty() && served_[i].server != server) continue;
    for (auto& call : served_[i].calls->living().Find(wanted)) {
      // Each server counts for itself; so that no two calls of the host have one number, they take
      // turns: with two servers, the first has the even ones.
      const uint64_t number = call->number() * served_.size() + i;
      const CountedMethod& method = call->method();
      living.push_back({served_[i].server, number, call, method.name, method.stall});
    }
  }
  return living;
}

std::vector<Crowd> CallInspector::Crowds() const {
  std::vector<Crowd> crowds;
  std::lock_guard lock(mutex_);
  for (const Served& served : served_) {
    const CallRegistry& calls = *served.calls;
    Crowd crowd{.server = served.server,
                .threads = served.threads,
                .reflections = static_cast<size_t>(std::max<int64_t>(0, calls.reflections()))};
    // Two counters, mostly: a server is seldom full.
    if (crowd.threads == 0 ||
        static_cast<size_t>(std::max<int64_t>(0, calls.in_flight())) + crowd.reflections <
            crowd.threads) {
      continue;
    }
    for (auto& call : calls.living().Find([](const LiveCall& one) { return one.thread() != 0; })) {
      const CountedMethod& method = call->method();
      const Duration patience = PatienceWith(*call, method.finished.slowest(), method.stall.after);
      crowd.calls.push_back({std::move(call), method.name, patience});
    }
    crowds.push_back(std::move(crowd));
  }
  return crowds;
}

std::vector<CallInspector::Living> CallInspector::Snapshot(const std::string& server) const {
  auto living = Collect(server, [](const LiveCall&) { return true; });
  std::stable_sort(living.begin(), living.end(), [](const Living& one, const Living& other) {
    return one.call->began() < other.call->began();
  });
  return living;
}

std::optional<ListedCall> CallInspector::Look(const Living& living,
                                              const CallFilter& filter) const {
  auto info = living.call->info();
  if (!info) return std::nullopt;
  info->number = living.number;
  if (const auto stall = watch_.stalls().find(living.number); stall != watch_.stalls().end()) {
    info->stalled = true;
    info->cause = stall->second.cause;
    info->why = stall->second.why;
  }
  if (!LetsThrough(filter, *info, clock_.Now())) return std::nullopt;
  return ListedCall{living.server, std::move(*info)};
}

void CallInspector::List(CallFilter filter, size_t limit, TakeCalls take) {
  Ask([this, filter = std::move(filter), limit, take = std::move(take)] {
    CallsPart part;
    bool room = true;
    size_t listed = 0;
    uint64_t left_out = 0;
    for (const Living& living : Snapshot(filter.server)) {
      auto call = Look(living, filter);
      if (!call) continue;
      if (!room || (limit != 0 && listed == limit)) {
        ++left_out;
        continue;
      }
      ++listed;
      part.calls.push_back(std::move(*call));
      if (part.calls.size() == kPart) room = take(std::exchange(part, {}));
    }
    part.complete = true;
    part.left_out = left_out;
    take(std::move(part));
  });
}

void CallInspector::ListFinished(CallFilter filter, TakeFinished take) {
  Ask([this, filter = std::move(filter), take = std::move(take)] {
    std::vector<FinishedPart> parts;
    {
      std::lock_guard lock(mutex_);
      for (size_t i = 0; i < served_.size(); ++i) {
        if (!filter.server.empty() && served_[i].server != filter.server) continue;
        for (FinishedMethod& method : served_[i].calls->finished()) {
          if (!filter.method.empty() && !Fits(filter.method, method.method)) continue;
          for (auto* calls : {&method.slowest, &method.failures}) {
            for (FinishedCall& call : *calls) call.number = call.number * served_.size() + i;
          }
          parts.push_back({served_[i].server, std::move(method), false});
        }
      }
    }
    size_t told = 0;
    while (told < parts.size() && take(std::move(parts[told++]))) continue;
    take({.server = {}, .method = {}, .complete = true, .left_out = parts.size() - told});
  });
}

void CallInspector::Find(uint64_t number, std::function<void(std::optional<CallDetails>)> answer) {
  Ask([this, number, answer = std::move(answer)] {
    for (const Living& living : Snapshot({})) {
      if (living.number != number) continue;
      auto listed = Look(living, {});
      if (!listed) break;
      const CallInfo& call = listed->call;
      const pid_t thread = call.thread != 0 ? call.thread : call.runs_in;
      CallDetails details{std::move(*listed), {}, {}, watch_.ProfileOf(number)};
      const auto stall = watch_.stalls().find(number);
      if (thread == 0 && stall != watch_.stalls().end() && !stall->second.stack.empty()) {
        details.stack = stall->second.stack;
      } else if (thread == 0) {
        details.no_stack = "its handler has no thread of its own (callback API)";
      } else if (NamedStack stack = NamedStackOf(thread); stack.frames.empty()) {
        details.no_stack = std::move(stack.why_not);
      } else {
        details.stack = stack.Lines();
      }
      // What was taken may be of the thread's next call.
      if (!living.call->info()) break;
      return answer(std::move(details));
    }
    answer(std::nullopt);
  });
}

void CallInspector::Cancel(CallChoice choice, std::string why, bool dry_run,
                           std::function<void(CallsCancelled)> answer) {
  Ask([this, choice = std::move(choice), why = std::move(why), dry_run,
       answer = std::move(answer)] {
    std::set<uint64_t> wanted(choice.numbers.begin(), choice.numbers.end());
    const bool by_number = !wanted.empty();
    CallsCancelled done;
    for (const Living& living : Snapshot(choice.filter.server)) {
      if (by_number ? !wanted.contains(living.number) : !Look(living, choice.filter)) continue;
      if (dry_run ? !living.call->info() : !living.call->Cancel(why)) continue;
      wanted.erase(living.number);
      ++done.cancelled;
    }
    done.not_in_flight.assign(wanted.begin(), wanted.end());
    answer(std::move(done));
  });
}

}  // namespace lastcall
