// Many stacks of the same thread as one tree: where it spends its time.
//
//   20 Prices::Watch(…) in prices.so
//     12 Parse(…) in prices.so
//     8 Write(…) in prices.so
#pragma once

#include <string>
#include <vector>

namespace lastcall {

// `stacks`: names, innermost first, as StackOf has them. Lines, indented by two where the ways part,
// the most frequent way first; of one way alone each line has the count of its first. What is seen
// in less than a twentieth of them, and what does not fit, is counted: "… 3 in other places".
std::vector<std::string> MergeStacks(const std::vector<std::vector<std::string>>& stacks,
                                     size_t most_lines = 100);

}  // namespace lastcall
