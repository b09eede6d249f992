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

void Problems::Add(SourceLocation location, std::string message) {
  ++found_;
  if (problems_.size() == kMostProblems) return;
  problems_.push_back({std::move(location), std::move(message)});
}

size_t Problems::IndexOf(const std::string& file) const {
  return std::find(files_.begin(), files_.end(), file) - files_.begin();
}

bool Problems::Before(const SourceLocation& a, const SourceLocation& b) const {
  return std::tuple(IndexOf(a.file), a.line, a.column) <
         std::tuple(IndexOf(b.file), b.line, b.column);
}

std::vector<ConfigProblem> Problems::Sorted() const {
  std::vector<ConfigProblem> sorted = problems_;
  std::stable_sort(sorted.begin(), sorted.end(),
                   [this](const auto& a, const auto& b) { return Before(a.location, b.location); });
  if (found_ > sorted.size()) sorted.push_back(More(found_ - sorted.size()));
  return sorted;
}

std::string Quoted(std::string_view text) {
  return '"' + SafeText(std::string(text), kMaxSafeName) + '"';
}

std::string Format(const SourceLocation& location) {
  std::string text = location.file;
  if (location.line > 0) text += ":" + std::to_string(location.line);
  if (location.column > 0) text += ":" + std::to_string(location.column);
  return text;
}

std::string Format(const ConfigProblem& problem) {
  const std::string location = Format(problem.location);
  // What is quoted comes from outside: one problem is one line.
  return SafeText((location.empty() ? "" : location + ": ") + problem.message, kMaxProblem);
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
