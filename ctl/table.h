// A table for people: columns as wide as their longest cell, cut where the screen ends. Numbers and
// names are never cut: a name that is shortened is one that no verb takes.
//
//   TextTable table({{"SERVER", Align::kName}, {"IN FLIGHT", Align::kRight}, {"LISTEN"}});
//   table.Add({{"public"}, {"3"}, {"0.0.0.0:50051"}});
//   out << table.Render(look);
#pragma once

#include <string>
#include <vector>

#include "text.h"

namespace lastcall {

// Names are on the left; numbers are on the right.
enum class Align : uint8_t { kLeft, kName, kRight };

class TextTable {
 public:
  struct Column {
    std::string title;
    Align align = Align::kLeft;
    // Of MakeRoom:
    int gives_way = 0;       // those with 1 go first; 0: it stays
    size_t enough = kWhole;  // it may be cut to this, before any goes
    bool if_any = false;     // it goes where no row has anything in it
  };
  static constexpr size_t kWhole = std::string::npos;
  struct Cell {
    std::string text;
    Colour colour = Colour::kPlain;
  };

  explicit TextTable(std::vector<Column> columns) : columns_(std::move(columns)) {}

  // As many cells as columns. A line feed in the last cell begins a new line there.
  void Add(std::vector<Cell> row) { rows_.push_back(std::move(row)); }

  bool empty() const { return rows_.empty(); }

  // Before Render, of rows that are all there: takes out columns that nobody misses, then those that
  // give way until the others have room. The titles of the latter.
  std::vector<std::string> MakeRoom(const Look& look);

  // The last column wraps; the others are cut in the middle, the widest first. After a name that has
  // no room its row goes on in the next line.
  std::string Render(const Look& look) const;

 private:
  void TakeOut(size_t column);
  void TakeOutEmpty();
  // Where every column is cut to what is enough of it.
  size_t NeededWidth(const Look& look) const;
  // Of longer names none is counted.
  std::vector<size_t> Natural(size_t longest_name) const;
  size_t* WidestOf(Align align, std::vector<size_t>& widths) const;
  std::vector<size_t> Widths(const Look& look) const;
  void RenderRow(const std::vector<Cell>& row, const std::vector<size_t>& widths, const Look& look,
                 std::string& out) const;

  std::vector<Column> columns_;
  std::vector<std::vector<Cell>> rows_;
};

}  // namespace lastcall
