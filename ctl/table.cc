#include "table.h"

#include <algorithm>
#include <numeric>

namespace lastcall {
namespace {

constexpr size_t kGap = 2;         // between two columns
constexpr size_t kNarrowest = 12;  // a column is not cut below this
constexpr size_t kLastAtLeast = 24;
constexpr size_t kLongestNameInLine = 24;  // where there is no room for everything

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

void TextTable::TakeOut(size_t column) {
  const auto at = static_cast<std::ptrdiff_t>(column);
  columns_.erase(columns_.begin() + at);
  for (auto& row : rows_) row.erase(row.begin() + at);
}

void TextTable::TakeOutEmpty() {
  for (size_t i = columns_.size(); i-- > 0;) {
    const auto is_empty = [i](const std::vector<Cell>& row) { return row[i].text.empty(); };
    if (!columns_[i].if_any) continue;
    if (std::all_of(rows_.begin(), rows_.end(), is_empty)) TakeOut(i);
  }
}

size_t TextTable::NeededWidth(const Look& look) const {
  const std::vector<size_t> natural = Natural(std::min(look.width, kLongestNameInLine));
  size_t needed = kGap * (columns_.size() - 1);
  for (size_t i = 0; i < columns_.size(); ++i) {
    needed += std::min(natural[i], std::max(columns_[i].enough, WidthOf(columns_[i].title)));
  }
  return needed;
}

std::vector<std::string> TextTable::MakeRoom(const Look& look) {
  TakeOutEmpty();
  std::vector<std::string> gone;
  const auto last =
      std::max_element(columns_.begin(), columns_.end(),
                       [](const Column& a, const Column& b) { return a.gives_way < b.gives_way; });
  const int turns = last->gives_way;
  for (int turn = 1; turn <= turns && NeededWidth(look) > look.width; ++turn) {
    for (size_t i = 0; i < columns_.size();) {
      if (columns_[i].gives_way != turn) {
        ++i;
        continue;
      }
      gone.push_back(columns_[i].title);
      TakeOut(i);
    }
  }
  return gone;
}

std::vector<size_t> TextTable::Natural(size_t longest_name) const {
  std::vector<size_t> widths;
  for (size_t i = 0; i < columns_.size(); ++i) {
    size_t width = WidthOf(columns_[i].title);
    for (const auto& row : rows_) {
      for (const std::string& line : Lines(row[i].text)) {
        const bool counts = columns_[i].align != Align::kName || WidthOf(line) <= longest_name;
        if (counts) width = std::max(width, WidthOf(line));
      }
    }
    widths.push_back(width);
  }
  return widths;
}

// The widest column of that kind but the last that can be narrower; null: there is none.
size_t* TextTable::WidestOf(Align align, std::vector<size_t>& widths) const {
  size_t* widest = nullptr;
  for (size_t i = 0; i + 1 < widths.size(); ++i) {
    if (columns_[i].align != align || widths[i] <= kNarrowest) continue;
    if (widest == nullptr || widths[i] > *widest) widest = &widths[i];
  }
  return widest;
}

std::vector<size_t> TextTable::Widths(const Look& look) const {
  const auto total = [](const std::vector<size_t>& widths) {
    return std::accumulate(widths.begin(), widths.end(), size_t{0});
  };
  const size_t gaps = kGap * (columns_.size() - 1);
  const size_t room = look.width > gaps ? look.width - gaps : 1;
  std::vector<size_t> widths = Natural(look.width);
  if (total(widths) <= room) return widths;
  widths = Natural(kLongestNameInLine);
  const size_t last = widths.back();
  widths.back() = std::min(last, kLastAtLeast);
  while (total(widths) > room) {
    size_t* victim = WidestOf(Align::kLeft, widths);
    if (victim == nullptr && widths.back() > kNarrowest) victim = &widths.back();
    if (victim == nullptr) victim = WidestOf(Align::kName, widths);
    if (victim == nullptr) break;
    --*victim;
  }
  if (total(widths) < room) widths.back() += std::min(room - total(widths), last - widths.back());
  return widths;
}

void TextTable::RenderRow(const std::vector<Cell>& row, const std::vector<size_t>& widths,
                          const Look& look, std::string& out) const {
  const size_t last = row.size() - 1;
  std::string line;
  size_t indent = 0;
  for (size_t i = 0; i < last; ++i) {
    const bool too_long = WidthOf(row[i].text) > widths[i];
    if (too_long && columns_[i].align == Align::kName) {
      const size_t width = WidthOf(row[i].text);
      if (indent > 0 && indent + width > look.width) {  // then in a line of its own, further left
        line.erase(line.find_last_not_of(' ') + 1);
        out += line + "\n";
        line.assign(look.width - std::min(look.width, width), ' ');
      }
      out += line + Paint(row[i].colour, row[i].text, look) + "\n";
      indent += widths[i] + kGap;
      line.assign(indent, ' ');
      continue;
    }
    const bool is_number = columns_[i].align == Align::kRight;
    const std::string text = is_number ? row[i].text : CutMiddle(row[i].text, widths[i]);
    const std::string blanks(widths[i] - std::min(widths[i], WidthOf(text)), ' ');
    const std::string painted = Paint(row[i].colour, text, look);
    line += is_number ? blanks + painted : painted + blanks;
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
