#include "live_lines.h"

#include <algorithm>
#include <utility>

#include "text.h"

namespace lastcall {

size_t RowsOf(const std::string& line, size_t width) {
  size_t shown = WidthOf(line);
  for (size_t at = line.find('\x1b'); at != line.npos; at = line.find('\x1b', at + 1)) {
    shown -= line.find('m', at) - at + 1;
  }
  return std::max<size_t>(1, (shown + width - 1) / width);
}

std::string LiveLines::Back(size_t width) {
  size_t rows = 0;
  for (const std::string& line : std::exchange(shown_, {})) rows += RowsOf(line, width);
  return rows == 0 ? "" : "\x1b[" + std::to_string(rows) + "A\r";
}

void LiveLines::Show(const std::vector<std::string>& lines, size_t width) {
  // One write, each line overwritten before its rest is erased: nothing flickers.
  std::string frame = Back(width);
  for (const std::string& line : lines) frame += line + "\x1b[K\n";
  out_ << frame << "\x1b[J" << std::flush;
  shown_ = lines;
  width_ = width;
}

void LiveLines::Clear() {
  if (!shown_.empty()) out_ << Back(width_) << "\x1b[J" << std::flush;
}

}  // namespace lastcall
