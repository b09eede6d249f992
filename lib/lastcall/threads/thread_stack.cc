#include "lastcall/threads/thread_stack.h"

#include <unistd.h>

#include <optional>
#include <string_view>

#include "lastcall/threads/doing.h"
#include "lastcall/threads/own_memory.h"
#include "lastcall/threads/stack_signal.h"
#include "lastcall/threads/stack_walk.h"
#include "lastcall/threads/system_calls.h"
#include "lastcall/threads/thread_sample.h"

namespace lastcall {
namespace {

using PlaceKind = KernelPlace::Kind;

struct Sleep {
  KernelPlace place;
  std::optional<Duration> ran;

  // Nothing that it had on its stack can have changed, as far as it did that itself.
  bool operator==(const Sleep&) const = default;
};

Sleep SleepOf(pid_t thread) {
  const ThreadFile file = ReadThreadFile(thread, "syscall");
  Sleep sleep{{}, CpuTimeOf(thread)};
  if (file.why.empty())
    sleep.place = ParseKernelPlace(file.text);
  else
    sleep.place.why = file.gone ? "the thread has ended" : file.why;
  return sleep;
}

TakenStack Refused(std::string why) { return {{}, std::move(why), false}; }

TakenStack Taken(StackWalk walk, bool by_signal) {
  return {std::move(walk.frames), std::string(Describe(walk.end)), by_signal};
}

TakenStack AskBySignal(pid_t thread) {
  const auto blocked = BlocksStackSignal(thread);
  if (!blocked) return Refused("its signal mask is not known");
  if (*blocked) return Refused("it blocks the signal that would ask it");
  return AskForStack(thread, [](const Registers& registers, const ReadWord& stack) {
    return Taken(WalkStack(registers, stack), true);
  });
}

// Empty: it did not sleep on.
std::optional<TakenStack> OfSleeping(pid_t thread, const Sleep& sleep) {
  const KernelPlace& place = sleep.place;
  OwnPages stack;
  const auto read = [&](uint64_t address) -> std::optional<uint64_t> {
    uint64_t word = 0;
    return stack.Read(address, &word, sizeof(word)) ? std::optional(word) : std::nullopt;
  };
  StackWalk walk = WalkStack(Registers::OfSleep(place.stack_pointer, place.instruction), read);
  if (SleepOf(thread) != sleep) return {};
  if (walk.end == StackWalk::End::kRegisterUnknown && GoesOnAfterSignal(place)) {
    TakenStack by_signal = AskBySignal(thread);
    if (by_signal.frames.size() > walk.frames.size()) return by_signal;
  }
  return Taken(std::move(walk), false);
}

}  // namespace

TakenStack TakeStack(pid_t thread) {
  constexpr int kTries = 3;
  if (!CanReadOwn()) return Refused("the kernel refuses process_vm_readv(2)");
  if (thread == gettid()) return AskBySignal(thread);
  for (int i = 0; i < kTries; ++i) {
    const Sleep sleep = SleepOf(thread);
    if (sleep.place.kind == PlaceKind::kUnknown) return Refused(sleep.place.why);
    if (sleep.place.kind == PlaceKind::kAwake) return AskBySignal(thread);
    if (auto stack = OfSleeping(thread, sleep)) return std::move(*stack);
  }
  return Refused("it did not sleep for long enough to be looked at, nor run");
}

}  // namespace lastcall
