#include "lastcall/host/callback_threads.h"

#include <dirent.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <utility>

#include "lastcall/threads/thread_stack.h"

namespace lastcall {
namespace {

// What gRPC calls them.
constexpr std::string_view kName = "nexting_thread\n";
// Whose code they are in while they have nothing to do; in a handler they are in somebody else's too.
constexpr std::string_view kGrpc[] = {"libgrpc",   "libgpr",     "libabsl", "libc.",
                                      "libstdc++", "libgcc",     "ld-",     "linux-",
                                      "[vdso]",    "libpthread", "libtsan", "libasan"};

// gRPC makes them with the first callback server, or client, and keeps them.
constexpr Duration kEnumerated = std::chrono::seconds(5);

// After so many looks it has the name that it keeps.
constexpr int kLooks = 2;

// A thread that ran, or wanted to, for so much of the time between two looks may have been in one handler
// all the while.
constexpr double kBusy = 0.9;

bool NeverSlept(const ThreadSample& before, const ThreadSample& after) {
  if (!before.ran || !after.ran || !before.turns || !after.turns) return false;
  const Duration awake = *after.ran - *before.ran + after.turns->waited - before.turns->waited;
  return ToSeconds(awake) >= kBusy * ToSeconds(after.at - before.at);
}

// Of "Prices::Watch(…)+0x1f in prices.so" or "prices.so+0x1234".
std::string_view FileIn(std::string_view frame) {
  constexpr std::string_view kIn = " in ";
  const size_t in = frame.rfind(kIn);
  return in == frame.npos ? frame : frame.substr(in + kIn.size());
}

bool IsAtRest(const std::vector<std::string>& stack) {
  return std::all_of(stack.begin(), stack.end(), [](const std::string& frame) {
    return std::any_of(std::begin(kGrpc), std::end(kGrpc),
                       [&](std::string_view name) { return FileIn(frame).starts_with(name); });
  });
}

}  // namespace

void CallbackThreads::Enumerate(Instant now) {
  if (enumerated_ != Instant::min() && now - enumerated_ < kEnumerated) return;
  enumerated_ = now;
  std::map<pid_t, Thread> found;
  std::unordered_map<pid_t, int> others;
  const std::unique_ptr<DIR, int (*)(DIR*)> tasks(opendir("/proc/self/task"), &closedir);
  while (const dirent* entry = tasks != nullptr ? readdir(tasks.get()) : nullptr) {
    const pid_t id = std::atoi(entry->d_name);
    if (id <= 0) continue;
    // There may be ten thousand of them, and each gets its name once, at its start.
    const auto other = others_.find(id);
    const int looks = other == others_.end() ? 0 : other->second;
    if (looks == kLooks || ReadThreadFile(id, "comm").text != kName) {
      others[id] = std::min(looks + 1, kLooks);
      continue;
    }
    const auto known = threads_.extract(id);
    found[id] = known.empty() ? Thread{} : known.mapped();
  }
  threads_ = std::move(found);
  others_ = std::move(others);
}

void CallbackThreads::Look(Instant now) {
  Enumerate(now);
  held_.clear();
  for (auto& [id, thread] : threads_) LookAt(id, thread);
}

void CallbackThreads::LookAt(pid_t id, Thread& thread) {
  const ThreadSample before = std::exchange(thread.last, lastcall::Look(id));
  if (before.thread == 0) return;
  const Doing doing = Judge(before, thread.last);
  // To take its stack may wake it for a moment: where it sleeps in the same place, it is the same sleep.
  const bool sleeps_on = thread.held_since != kNever &&
                         thread.last.place.kind == KernelPlace::Kind::kCall &&
                         thread.last.place == before.place;
  if (sleeps_on) {
    held_.push_back({id, thread.held_since, doing, thread.stack});
    return;
  }
  const bool slept_through = doing.what == Doing::What::kBlocked && doing.throughout;
  if (!slept_through && doing.what != Doing::What::kStarved && !NeverSlept(before, thread.last)) {
    thread.held_since = kNever;
    return;
  }
  std::vector<std::string> stack = names_.Of(TakeStack(id).frames);
  if (stack.empty() || IsAtRest(stack)) {
    thread.held_since = kNever;
    return;
  }
  if (thread.held_since == kNever) thread.held_since = before.at;
  thread.stack = std::move(stack);
  held_.push_back({id, thread.held_since, doing, thread.stack});
}

}  // namespace lastcall
