// The problems of a configuration, collected until all are known.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "daemon/config/config.h"

namespace lastcall {

// More than that nobody reads, and four megabytes of mistakes are forty of messages.
inline constexpr size_t kMostProblems = 1000;

// What is beyond them becomes one that has their number.
void KeepFirst(std::vector<ConfigProblem>& problems);

// Those beyond kMostProblems are counted alone.
class Problems {
 public:
  // `files` in the order in which they were read: problems are sorted by it.
  explicit Problems(std::vector<std::string> files = {}) : files_(std::move(files)) {}

  void Add(SourceLocation location, std::string message);
  bool empty() const { return problems_.empty(); }

  // Whether `a` was read before `b`.
  bool Before(const SourceLocation& a, const SourceLocation& b) const;
  // By place; what has none comes first.
  std::vector<ConfigProblem> Sorted() const;

 private:
  size_t IndexOf(const std::string& file) const;

  std::vector<std::string> files_;
  std::vector<ConfigProblem> problems_;
  size_t found_ = 0;  // those that are not kept too
};

// As a message shows what was written.
std::string Quoted(std::string_view text);

// "/etc/lastcall/lastcalld.toml:12"; empty for the command line.
std::string Format(const SourceLocation& location);

}  // namespace lastcall
