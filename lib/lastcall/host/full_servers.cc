#include "lastcall/host/full_servers.h"

#include <algorithm>
#include <set>
#include <utility>

#include "lastcall/host/wait_text.h"
#include "lastcall/threads/doing.h"

namespace lastcall {
namespace {

// Threads that are looked at in one server: those that are held longest.
constexpr size_t kMostLooks = 20;
// Methods that are named, and whose stack is taken.
constexpr size_t kMostNamed = 4;

// Those of one method.
struct SameMethod {
  Holder longest;
  size_t count = 0;
};

std::vector<SameMethod> ByMethod(std::vector<Holder> holders) {
  std::map<std::string, SameMethod> methods;
  for (Holder& holder : holders) {
    SameMethod& same = methods[holder.method];
    if (same.count++ == 0 || holder.idle > same.longest.idle) same.longest = std::move(holder);
  }
  std::vector<SameMethod> sorted;
  for (auto& [name, same] : methods) sorted.push_back(std::move(same));
  std::stable_sort(sorted.begin(), sorted.end(),
                   [](const auto& one, const auto& other) { return one.count > other.count; });
  return sorted;
}

std::string HeldBy(const SameMethod& same) {
  std::string text = same.longest.method;
  std::string more = same.longest.why;
  if (same.count > 1) more += (more.empty() ? "" : ", ") + std::to_string(same.count) + " calls";
  return more.empty() ? text : text + " (" + more + ")";
}

}  // namespace

Duration PatienceWith(const LiveCall& call, Duration slowest, Duration longest) {
  Duration usual = slowest;
  if (call.kind() != CallKind::kUnary) {
    // It has no other end than its own: its messages count, the first request as one.
    const uint64_t messages = call.messages();
    usual = messages == 0 ? Duration::zero()
                          : (call.progressed() - call.began()) / static_cast<int64_t>(messages);
  }
  const Duration most = std::max(kHeld, std::min(kHeldForLong, longest));
  return usual >= most / 2 ? most : std::max(kHeld, 2 * usual);
}

std::string DescribeHolders(size_t threads, const std::string& named, size_t reflections,
                            std::vector<Holder> holders) {
  std::vector<std::string> by;
  size_t unnamed = 0;
  for (const SameMethod& same : ByMethod(std::move(holders))) {
    if (by.size() < kMostNamed)
      by.push_back(HeldBy(same));
    else
      unnamed += same.count;
  }
  if (unnamed > 0) by.push_back(std::to_string(unnamed) + " calls of other methods");
  if (reflections > 0) {
    by.push_back(std::to_string(reflections) + (reflections == 1 ? " client" : " clients") +
                 " of reflection");
  }
  const std::string all = std::to_string(threads);
  std::string text = all + " of " + all + (threads == 1 ? " thread" : " threads") + named +
                     (threads == 1 ? " is held by " : " are held by ");
  for (size_t i = 0; i < by.size(); ++i) text += (i == 0 ? "" : " and ") + by[i];
  return text;
}

struct FullServers::Held {
  const Crowd::Call* call = nullptr;
  pid_t thread = 0;
  CallWaits waits = CallWaits::kHandler;
  Duration idle{};
};

std::vector<FullServers::Held> FullServers::HeldIn(const Crowd& crowd, Instant now,
                                                   Instant forgiven) {
  std::vector<Held> held;
  for (const Crowd::Call& each : crowd.calls) {
    const Held one{&each, each.call->thread(), each.call->waits(),
                   now - std::max(each.call->progressed(), forgiven)};
    // What a thread does is known from two looks: so one looks before it matters.
    if (one.thread == 0 || one.waits == CallWaits::kFinish || one.idle < each.patience / 2)
      continue;
    held.push_back(one);
  }
  std::stable_sort(held.begin(), held.end(),
                   [](const Held& one, const Held& other) { return one.idle > other.idle; });
  return held;
}

void FullServers::Look(Instant now, Instant forgiven, const std::vector<Crowd>& crowds) {
  last_samples_ = std::exchange(samples_, {});
  full_.clear();
  for (const Crowd& crowd : crowds) {
    std::vector<Held> held = HeldIn(crowd, now, forgiven);
    // A call that is being refused may be among the others: those that are held count.
    const auto full = [&] { return held.size() + crowd.reflections >= crowd.threads; };
    if (held.empty() || !full()) continue;
    for (size_t i = 0; i < std::min(kMostLooks, held.size()); ++i) {
      samples_[held[i].thread] = lastcall::Look(held[i].thread);
    }
    std::erase_if(held, [](const Held& one) { return one.idle < one.call->patience; });
    if (!held.empty() && full() && last_samples_.contains(held[0].thread)) Add(crowd, held);
  }
}

Holder FullServers::Judge(const Held& held) const {
  Holder holder{held.call->method, std::string(WaitText(held.waits)), held.idle};
  if (!holder.why.empty()) {
    holder.why += ", for " + FormatDuration(held.idle);
    return holder;
  }
  const auto before = last_samples_.find(held.thread), after = samples_.find(held.thread);
  if (before == last_samples_.end() || after == samples_.end()) return holder;
  const Doing doing = lastcall::Judge(before->second, after->second);
  holder.why = Describe(doing, NamedDescriptorsOf(doing.place), held.idle);
  return holder;
}

void FullServers::Add(const Crowd& crowd, const std::vector<Held>& held) {
  Full& full = full_[crowd.server];
  full.age = held.back().idle;
  full.signature = "full " + crowd.server;
  std::vector<Holder> holders;
  std::set<std::string> methods;
  for (const Held& one : held) {
    holders.push_back(Judge(one));
    if (methods.insert(one.call->method).second && full.threads.size() < kMostNamed) {
      full.threads.push_back({one.thread, one.call->method});
    }
  }
  for (const std::string& method : methods) full.signature += " " + method;
  full.by = DescribeHolders(crowd.threads, "", crowd.reflections, holders);
  full.line = "full: " +
              DescribeHolders(crowd.threads, " of server " + crowd.server, crowd.reflections,
                              std::move(holders)) +
              ": new calls of server " + crowd.server + " are refused with RESOURCE_EXHAUSTED";
}

}  // namespace lastcall
