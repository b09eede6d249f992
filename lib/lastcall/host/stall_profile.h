// StallProfile: where a call that does not get on spends its time: many looks at its thread, spread over
// some seconds, merged into one tree.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <lastcall/base/clock.h>

namespace lastcall {

// "Parse(char const*)+0x1f in prices.so" without where in the function that is.
std::string WithoutOffset(const std::string& frame);

// Whether the two are in the same functions, as far as their innermost frames tell.
bool IsSamePlace(const std::vector<std::string>& one, const std::vector<std::string>& other);

class StallProfile {
 public:
  static constexpr size_t kSamples = 20;
  // Fewer tell nothing.
  static constexpr size_t kLeast = 5;
  static constexpr size_t kMostLines = 30;

  // Of one call at a time.
  void Begin(uint64_t call, pid_t thread, Instant now);
  bool active() const { return call_ != 0; }
  uint64_t call() const { return call_; }
  pid_t thread() const { return thread_; }
  // When the next sample is; kNever: none is.
  Instant due() const { return active() ? due_ : kNever; }
  // `stack`: innermost first, as SymbolNames has it. Empty: it could not be taken.
  void Add(std::vector<std::string> stack, Instant now);
  bool complete() const { return samples_ >= kSamples; }
  // It is over. "20 looks at thread 4711 in 4.2s", then the tree; nothing, where it tells nothing.
  std::vector<std::string> Take(Instant now);

 private:
  uint64_t call_ = 0;
  pid_t thread_ = 0;
  Instant began_{};
  Instant due_{};
  size_t samples_ = 0;
  std::vector<std::vector<std::string>> stacks_;
};

// The tree of these stacks. What is outside of all of them alike, but for the last frames of it, is left out.
std::vector<std::string> ProfileOf(const std::vector<std::vector<std::string>>& stacks,
                                   size_t most_lines);

}  // namespace lastcall
