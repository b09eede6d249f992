#include "lastcall/host/stall_profile.h"

#include <algorithm>
#include <utility>

#include "lastcall/threads/profile.h"

namespace lastcall {
namespace {

// Between two samples: never in step with what goes by tens of milliseconds.
constexpr Duration kPause = std::chrono::milliseconds(150);
constexpr Duration kStep = std::chrono::milliseconds(37);
constexpr Duration kMostSteps = std::chrono::milliseconds(100);

// Of the frames that all have in common, those that are shown.
constexpr size_t kShared = 3;
// What tells one place from another.
constexpr size_t kPlaceFrames = 4;

Instant NextAfter(Instant now, size_t samples) {
  return now + kPause + (samples * kStep) % kMostSteps;
}

// How many of the outermost frames are the same in all.
size_t CountShared(const std::vector<std::vector<std::string>>& stacks) {
  size_t shared = stacks.empty() ? 0 : stacks[0].size();
  for (const auto& stack : stacks) {
    const auto end =
        std::mismatch(stacks[0].rbegin(), stacks[0].rend(), stack.rbegin(), stack.rend());
    shared = std::min(shared, static_cast<size_t>(end.first - stacks[0].rbegin()));
  }
  return shared;
}

}  // namespace

std::string WithoutOffset(const std::string& frame) {
  const size_t in = frame.rfind(" in ");
  if (in == frame.npos) return frame;
  const size_t plus = frame.rfind("+0x", in);
  return plus == frame.npos ? frame : frame.substr(0, plus) + frame.substr(in);
}

bool IsSamePlace(const std::vector<std::string>& one, const std::vector<std::string>& other) {
  for (size_t i = 0; i < kPlaceFrames; ++i) {
    if (i >= one.size() || i >= other.size()) return one.size() == other.size();
    if (WithoutOffset(one[i]) != WithoutOffset(other[i])) return false;
  }
  return true;
}

void StallProfile::Begin(uint64_t call, pid_t thread, Instant now) {
  *this = {};
  call_ = call;
  thread_ = thread;
  began_ = now;
  due_ = NextAfter(now, 0);
}

void StallProfile::Add(std::vector<std::string> stack, Instant now) {
  ++samples_;
  due_ = NextAfter(now, samples_);
  if (stack.empty()) return;
  for (std::string& frame : stack) frame = WithoutOffset(frame);
  stacks_.push_back(std::move(stack));
}

std::vector<std::string> StallProfile::Take(Instant now) {
  const StallProfile done = std::exchange(*this, {});
  if (done.stacks_.size() < kLeast) return {};
  std::vector<std::string> lines = ProfileOf(done.stacks_, kMostLines);
  lines.insert(
      lines.begin(),
      std::to_string(done.stacks_.size()) + " looks at thread " + std::to_string(done.thread_) +
          " in " +
          FormatDuration(std::chrono::floor<std::chrono::milliseconds>(now - done.began_)));
  return lines;
}

std::vector<std::string> ProfileOf(const std::vector<std::vector<std::string>>& stacks,
                                   size_t most_lines) {
  const size_t shared = CountShared(stacks);
  const size_t left_out = shared > kShared ? shared - kShared : 0;
  std::vector<std::vector<std::string>> inner = stacks;
  for (auto& stack : inner) stack.resize(stack.size() - left_out);
  std::vector<std::string> lines = MergeStacks(inner, most_lines);
  for (std::string& line : lines) {
    // "  12 Parse" becomes "  12 (60 %) Parse".
    const size_t digits = line.find_first_not_of(' ');
    const size_t blank = line.find(' ', digits);
    if (digits == line.npos || blank == line.npos || line[digits] < '0' || line[digits] > '9')
      continue;
    const size_t count = std::stoul(line.substr(digits, blank - digits));
    line.insert(blank,
                " (" + std::to_string((100 * count + stacks.size() / 2) / stacks.size()) + " %)");
  }
  return lines;
}

}  // namespace lastcall
