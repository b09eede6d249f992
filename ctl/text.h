// Text for people: lengths on the screen, colours, and the short words for times and numbers.
#pragma once

#include <google/protobuf/message.h>

#include <string>
#include <string_view>
#include <vector>

namespace lastcall {

// How the output wants to be written.
struct Look {
  size_t width = 100;
  size_t height = 24;  // of the screen, where there is one
  bool colour = false;
  bool folds = false;  // a person reads it: a long line is broken at blanks, not by the terminal
};

// For what begins further to the right.
Look Narrower(Look look, size_t taken);

enum class Colour : uint8_t { kPlain, kBold, kDim, kGreen, kYellow, kRed };

std::string Paint(Colour colour, std::string_view text, const Look& look);

// Columns on the screen: code points of UTF-8.
size_t WidthOf(std::string_view text);
// At most `width` columns, with … in the middle: both ends of a path or a method name matter.
std::string CutMiddle(std::string_view text, size_t width);
// Lines of at most `width` columns, those but the first of `hanging` less, broken at blanks. A longer word is cut in the middle, or kept and
// has a line of its own.
enum class LongWords : uint8_t { kCut, kKept };
std::vector<std::string> Wrap(std::string_view text, size_t width,
                              LongWords words = LongWords::kCut, size_t hanging = 0);
// Wrapped where the look folds, with `indent` before each line but the first. No word is cut.
std::string Folded(std::string_view text, std::string_view indent, const Look& look);

// Makes every string in `message` safe to show; see lastcall/base/safe_text.h.
void MakeSafe(google::protobuf::Message* message);

// "4.2s", "850ms", "1m30s": what is left or was taken.
std::string Brief(double seconds);
// The same for what changes while one looks: always to a tenth of a second, "3.0s".
std::string Steady(double seconds);
// "3h12m", "4d7h": ages and up-times, in the two units that matter.
std::string Coarse(double seconds);
// "1,204,811".
std::string Grouped(double count);
// "1 call", "3 calls".
std::string Counted(double count, std::string_view noun);

}  // namespace lastcall
