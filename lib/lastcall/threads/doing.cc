#include "lastcall/threads/doing.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "lastcall/threads/descriptor_text.h"
#include "lastcall/threads/system_calls.h"

namespace lastcall {
namespace {

using PlaceKind = KernelPlace::Kind;
using What = Doing::What;

Doing Because(What what, std::string why) {
  Doing doing;
  doing.what = what;
  doing.why = std::move(why);
  return doing;
}

bool Sleeps(const ThreadSample& sample) {
  const PlaceKind kind = sample.place.kind;
  if (kind != PlaceKind::kUnknown) return kind != PlaceKind::kAwake;
  return sample.state == 'S' || sample.state == 'D' || sample.state == 'I';
}

bool IsAwake(const ThreadSample& sample) {
  return sample.state == 'R' || (sample.state == '?' && sample.place.kind == PlaceKind::kAwake);
}

bool SameSleep(const ThreadSample& before, const ThreadSample& after) {
  return Sleeps(before) && Sleeps(after) && before.turns && before.turns == after.turns &&
         before.ran == after.ran;
}

// How long it was ready to run without a processor between the looks.
Duration Waited(const ThreadSample& before, const ThreadSample& after, Duration passed,
                Duration ran) {
  if (!before.turns || !after.turns) return Duration::zero();
  // A wait is counted when it is over. Where it was given no processor in between and is awake
  // still, it has waited whenever it did not run.
  if (before.turns == after.turns && IsAwake(before) && IsAwake(after)) return passed - ran;
  return after.turns->waited - before.turns->waited;
}

double Share(Duration part, Duration whole) {
  return std::clamp(ToSeconds(part) / ToSeconds(whole), 0.0, 1.0);
}

Doing Blocked(const ThreadSample& before, const ThreadSample& after) {
  Doing doing;
  doing.what = What::kBlocked;
  doing.throughout = SameSleep(before, after);
  const ThreadSample& seen = Sleeps(after) || !Sleeps(before) ? after : before;
  doing.place = seen.place;
  doing.sleeps_at = seen.sleeps_at;
  if (!Sleeps(seen)) doing.place.why = "it was awake at both looks, and asleep in between";
  if (doing.place.kind == PlaceKind::kAwake) doing.place.kind = PlaceKind::kUnknown;
  return doing;
}

std::string Percent(double share) { return std::to_string(std::lround(share * 100)) + " %"; }

// "fd 17, tcp 10.0.0.5:5432"
std::string FdText(const NamedFd& fd) {
  std::string text = "fd " + std::to_string(fd.fd);
  if (!fd.name.empty()) text += ", " + fd.name;
  return text;
}

std::string BlockedText(const Doing& doing, const std::vector<NamedFd>& fds) {
  const KernelPlace& place = doing.place;
  if (place.kind == PlaceKind::kNoCall) return "blocked on memory that is not there yet";
  if (place.kind != PlaceKind::kCall) {
    std::string text = "blocked, system call unknown";
    if (!doing.sleeps_at.empty()) text += ", in the kernel's " + doing.sleeps_at;
    return place.why.empty() ? text : text + " (" + place.why + ")";
  }
  std::string text = "blocked in " + CallName(place);
  if (fds.size() == 1) text += " of " + FdText(fds[0]);
  for (size_t i = 0; fds.size() > 1 && i < fds.size(); ++i) {
    text += (i == 0 ? " of " : "; ") + FdText(fds[i]);
  }
  return text;
}

std::string WhatText(const Doing& doing, const std::vector<NamedFd>& fds) {
  const std::string because = doing.why.empty() ? "" : " (" + doing.why + ")";
  switch (doing.what) {
    case What::kOnCpu: return "on CPU (" + Percent(doing.share) + ")";
    case What::kBlocked: return BlockedText(doing, fds);
    case What::kStarved:
      return "starved of CPU (ready to run, without a processor for " + Percent(doing.share) +
             " of the time)";
    case What::kPaused: return "paused" + because;
    case What::kGone: return "ended";
    case What::kUnknown: break;
  }
  return "unknown" + because;
}

}  // namespace

Doing Judge(const ThreadSample& before, const ThreadSample& after) {
  if (before.thread != after.thread) {
    return Because(What::kUnknown, "two looks at different threads");
  }
  if (after.gone || before.gone) return Because(What::kGone, "the thread has ended");
  if (after.state == 'Z' || after.state == 'X') return Because(What::kGone, "the thread has ended");
  if (after.state == 't') return Because(What::kPaused, "held by a debugger");
  if (after.state == 'T') return Because(What::kPaused, "stopped by a signal");
  const Duration passed = after.at - before.at;
  if (passed <= Duration::zero()) return Because(What::kUnknown, "no time between two looks");
  if (!before.ran || !after.ran) return Because(What::kUnknown, "its CPU time is not known");
  if (*after.ran < *before.ran ||
      (before.turns && after.turns && after.turns->count < before.turns->count)) {
    return Because(What::kUnknown, "another thread has its number now");
  }
  const Duration ran = *after.ran - *before.ran;
  const Duration waited = Waited(before, after, passed, ran);
  const Duration slept = passed - ran - waited;
  Doing doing;
  if (ran >= waited && ran >= slept) {
    doing.what = What::kOnCpu;
    doing.share = Share(ran, passed);
  } else if (waited >= slept) {
    doing.what = What::kStarved;
    doing.share = Share(waited, passed);
  } else {
    doing = Blocked(before, after);
  }
  return doing;
}

std::string CallName(const KernelPlace& place) {
  if (place.kind != PlaceKind::kCall) return "";
  const SystemCall* const call = FindSystemCall(place.number);
  return call != nullptr ? std::string(call->name) : "system call " + std::to_string(place.number);
}

std::vector<NamedFd> NamedDescriptorsOf(const KernelPlace& place) {
  std::vector<NamedFd> named;
  for (const int fd : DescriptorsOf(place)) named.push_back({fd, DescribeFd(fd)});
  return named;
}

std::string Describe(const Doing& doing, const std::vector<NamedFd>& fds, Duration length) {
  std::string text = WhatText(doing, fds);
  if (length <= Duration::zero() || doing.what == What::kGone) return text;
  // "…, tcp 10.0.0.5:5432, for 12s", but "on CPU (98 %) for 12s".
  const bool named = doing.what == What::kBlocked && !fds.empty() && !fds.back().name.empty();
  return text + (named ? ", for " : " for ") + FormatDuration(length);
}

}  // namespace lastcall
