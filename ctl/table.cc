#include "table.h"

#include <algorithm>
#include <numeric>

namespace lastcall {
namespace {

constexpr size_t kGap = 2;         // between two columns
constexpr size_t kNarrowest = 12;  // a column is not cut below this
constexpr size_t kLastAtLeast = 24;

std::vector<std::string> Lines(std::string_view text) {
  std::vector<std::string> lines;
  while (true) {
    const size_t end = text.find('\n');
    lines.emplace_back(text.substr(0, end));
    if (end == std::string_view::npos) return lines;
    text.remove_prefix(end + 1);
  }
}

std::vector<std::string> WrapLines(std::string_view text, size_t width) {
  std::vector<std::string> wrapped;
  for (const std::string& line : Lines(text)) {
    for (std::string& part : Wrap(line, width)) wrapped.push_back(std::move(part));
  }
  return wrapped;
}

}  // namespace

std::vector<size_t> TextTable::Widths(const Look& look) const {
  std::vector<size_t> widths;
  for (size_t i = 0; i < columns_.size(); ++i) {
    size_t width = WidthOf(columns_[i].title);
    for (const auto& row : rows_) {
      for (const std::string& line : Lines(row[i].text)) width = std::max(width, WidthOf(line));
    }
    widths.push_back(width);
  }
  const size_t gaps = kGap * (widths.size() - 1);
  const size_t room = look.width > gaps ? look.width - gaps : 1;
  const size_t last = widths.back();
  widths.back() = std::min(last, kLastAtLeast);
  const auto total = [&] { return std::accumulate(widths.begin(), widths.end(), size_t{0}); };
  while (total() > room) {
    const auto widest = std::max_element(widths.begin(), widths.end() - 1);
    const auto victim = *widest > kNarrowest ? widest : widths.end() - 1;
    if (*victim <= kNarrowest) break;
    --*victim;
  }
  if (total() < room) widths.back() += std::min(room - total(), last - widths.back());
  return widths;
}

void TextTable::RenderRow(const std::vector<Cell>& row, const std::vector<size_t>& widths,
                          const Look& look, std::string& out) const {
  const size_t last = row.size() - 1;
  std::string line;
  size_t indent = 0;
  for (size_t i = 0; i < last; ++i) {
    const std::string text = CutMiddle(row[i].text, widths[i]);
    const std::string blanks(widths[i] - WidthOf(text), ' ');
    const std::string painted = Paint(row[i].colour, text, look);
    line += columns_[i].align == Align::kRight ? blanks + painted : painted + blanks;
    line.append(kGap, ' ');
    indent += widths[i] + kGap;
  }
  for (const std::string& part : WrapLines(row[last].text, widths[last])) {
    if (columns_[last].align == Align::kRight) line.append(widths[last] - WidthOf(part), ' ');
    line += Paint(row[last].colour, part, look);
    line.erase(line.find_last_not_of(' ') + 1);
    out += line + "\n";
    line.assign(indent, ' ');
  }
}

std::string TextTable::Render(const Look& look) const {
  const std::vector<size_t> widths = Widths(look);
  std::vector<Cell> titles;
  for (const Column& column : columns_) titles.push_back({column.title, Colour::kDim});
  std::string out;
  RenderRow(titles, widths, look, out);
  for (const auto& row : rows_) RenderRow(row, widths, look, out);
  return out;
}

}  // namespace lastcall
