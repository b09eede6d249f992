// Lines on a terminal that are redrawn in place.
#pragma once

#include <ostream>
#include <string>
#include <vector>

namespace lastcall {

// Rows of a screen of that width that the line takes; what paints it does not count.
size_t RowsOf(const std::string& line, size_t width);

class LiveLines {
 public:
  explicit LiveLines(std::ostream& out) : out_(out) {}

  // In the place of those shown before. `width` is the screen's now: it may be another one than then,
  // and the terminal has broken the old lines anew.
  void Show(const std::vector<std::string>& lines, size_t width);
  // Takes them away.
  void Clear();

 private:
  // To where they begin.
  std::string Back(size_t width);

  std::ostream& out_;
  std::vector<std::string> shown_;
  size_t width_ = 0;
};

}  // namespace lastcall
