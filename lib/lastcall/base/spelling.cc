#include "lastcall/base/spelling.h"

#include <algorithm>
#include <numeric>
#include <utility>

namespace lastcall {
namespace {

using Row = std::vector<size_t>;

// How many letters must be added, dropped, replaced or swapped with their neighbour.
size_t Distance(std::string_view a, std::string_view b) {
  Row two_above(b.size() + 1), above(b.size() + 1), row(b.size() + 1);
  std::iota(row.begin(), row.end(), 0);
  for (size_t i = 1; i <= a.size(); ++i) {
    two_above = std::exchange(above, row);
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replaced = above[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      row[j] = std::min({replaced, above[j] + 1, row[j - 1] + 1});
      const bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
      if (swapped) row[j] = std::min(row[j], two_above[j - 2] + 1);
    }
  }
  return row.back();
}

std::string Listed(const std::vector<std::string>& words) {
  std::string text;
  for (size_t i = 0; i < words.size(); ++i) {
    if (i > 0) text += i + 1 == words.size() ? " and " : ", ";
    text += words[i];
  }
  return text;
}

}  // namespace

std::string NearestWord(std::string_view word, const std::vector<std::string>& known) {
  // A third of the letters may be wrong: more, and the guess says more about us than about the
  // word.
  size_t best = std::max<size_t>(1, word.size() / 3) + 1;
  std::string nearest;
  for (const std::string& candidate : known) {
    const size_t distance = Distance(word, candidate);
    if (distance >= best || distance >= candidate.size()) continue;
    best = distance;
    nearest = candidate;
  }
  return nearest;
}

std::string SpellingHint(std::string_view word, const std::vector<std::string>& known) {
  const std::string nearest = NearestWord(word, known);
  if (!nearest.empty()) return "did you mean \"" + nearest + "\"?";
  if (known.empty()) return "none is known here";
  return (known.size() == 1 ? "known is " : "known are ") + Listed(known);
}

}  // namespace lastcall
