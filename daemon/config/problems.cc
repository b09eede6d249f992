#include "daemon/config/problems.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include <lastcall/base/safe_text.h>

namespace lastcall {
namespace {

ConfigProblem More(size_t count) {
  return {{}, "and " + std::to_string(count) + " more problems; is it the right file?"};
}

}  // namespace

void KeepFirst(std::vector<ConfigProblem>& problems) {
  if (problems.size() <= kMostProblems) return;
  const size_t more = problems.size() - kMostProblems;
  problems.resize(kMostProblems);
  problems.push_back(More(more));
}

namespace {

// The flaws of many files may be one problem.
constexpr size_t kMaxProblem = 16 << 10;

}  // namespace

void Problems::Add(Place place, std::string message) {
  ++found_;
  if (problems_.size() == kMostProblems) return;
  problems_.push_back({std::move(place), std::move(message)});
}

size_t Problems::IndexOf(const std::string& file) const {
  return std::find(files_.begin(), files_.end(), file) - files_.begin();
}

bool Problems::Before(const Place& a, const Place& b) const {
  return std::tuple(IndexOf(a.file), a.line, a.column) <
         std::tuple(IndexOf(b.file), b.line, b.column);
}

std::vector<ConfigProblem> Problems::Sorted() const {
  std::vector<ConfigProblem> sorted = problems_;
  std::stable_sort(sorted.begin(), sorted.end(),
                   [this](const auto& a, const auto& b) { return Before(a.place, b.place); });
  if (found_ > sorted.size()) sorted.push_back(More(found_ - sorted.size()));
  return sorted;
}

std::string Quoted(std::string_view text) {
  return '"' + SafeText(std::string(text), kMaxSafeName) + '"';
}

std::string Format(const Place& place) {
  std::string text = place.file;
  if (place.line > 0) text += ":" + std::to_string(place.line);
  if (place.column > 0) text += ":" + std::to_string(place.column);
  return text;
}

std::string Format(const ConfigProblem& problem) {
  const std::string place = Format(problem.place);
  // What is quoted comes from outside: one problem is one line.
  return SafeText((place.empty() ? "" : place + ": ") + problem.message, kMaxProblem);
}

std::string Format(const std::vector<ConfigProblem>& problems) {
  std::string text;
  for (const ConfigProblem& problem : problems) text += Format(problem) + "\n";
  return text;
}

Error AsError(const std::vector<ConfigProblem>& problems) {
  std::string text = Format(problems);
  if (!text.empty()) text.pop_back();
  return {Code::kInvalidArgument, std::move(text)};
}

}  // namespace lastcall
