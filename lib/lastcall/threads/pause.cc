#include "lastcall/threads/pause.h"

#include <algorithm>
#include <ctime>

namespace lastcall {
namespace {

// Of CPU for each second of a pause: what the process did just before and after it, no more.
constexpr int kStandsStill = 10;

}  // namespace

Lateness JudgeLateness(const Wake& wake) {
  using Cause = Lateness::Cause;
  const Duration late = wake.woke - wake.planned;
  if (late < kLateEnough) return {};
  const Duration queued = std::clamp(wake.queued, Duration::zero(), late);
  const Duration asleep = late - queued;
  if (queued >= asleep) return {Cause::kStarved, queued};
  const bool still = wake.process_ran <= asleep / kStandsStill;
  return {still ? Cause::kPaused : Cause::kHeldUp, asleep};
}

std::string Describe(const Lateness& lateness) {
  const std::string length = FormatDuration(lateness.length);
  switch (lateness.cause) {
    case Lateness::Cause::kNone: return "";
    case Lateness::Cause::kStarved: return "the machine had no processor to spare for " + length;
    case Lateness::Cause::kPaused:
      return "the whole process stood still for " + length +
             " (stopped by a signal or a debugger, or its machine was)";
    case Lateness::Cause::kHeldUp:
      return "the thread that looks after stalls was held up for " + length +
             " while others of the process ran";
  }
  return "";
}

Duration ProcessCpuTime() {
  timespec ran{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ran);
  return std::chrono::seconds(ran.tv_sec) + std::chrono::nanoseconds(ran.tv_nsec);
}

}  // namespace lastcall
