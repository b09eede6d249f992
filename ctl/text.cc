#include "text.h"

#include <lastcall/base/clock.h>
#include <lastcall/base/safe_text.h>

#include <algorithm>
#include <cmath>

namespace lastcall {
namespace {

constexpr std::string_view kEllipsis = "…";

bool BeginsCodePoint(char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }

// The byte offset of the code point number `index`.
size_t OffsetOf(std::string_view text, size_t index) {
  size_t offset = 0;
  for (; offset < text.size(); ++offset) {
    if (BeginsCodePoint(text[offset]) && index-- == 0) break;
  }
  return offset;
}

std::string_view Escape(Colour colour) {
  switch (colour) {
    case Colour::kPlain: return "";
    case Colour::kBold: return "\x1b[1m";
    case Colour::kDim: return "\x1b[2m";
    case Colour::kGreen: return "\x1b[32m";
    case Colour::kYellow: return "\x1b[33m";
    case Colour::kRed: return "\x1b[31m";
  }
  return "";
}

}  // namespace

Look Narrower(Look look, size_t taken) {
  look.width -= std::min(look.width / 2, taken);
  return look;
}

std::string Paint(Colour colour, std::string_view text, const Look& look) {
  if (!look.colour || colour == Colour::kPlain || text.empty()) return std::string(text);
  return std::string(Escape(colour)) + std::string(text) + "\x1b[0m";
}

size_t WidthOf(std::string_view text) {
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), BeginsCodePoint));
}

std::string CutMiddle(std::string_view text, size_t width) {
  const size_t length = WidthOf(text);
  if (length <= width) return std::string(text);
  if (width == 0) return "";
  const size_t head = width / 2, tail = width - 1 - head;
  return std::string(text.substr(0, OffsetOf(text, head))) + std::string(kEllipsis) +
         std::string(text.substr(OffsetOf(text, length - tail)));
}

std::vector<std::string> Wrap(std::string_view text, size_t width, LongWords words,
                              size_t hanging) {
  std::vector<std::string> lines(1);
  while (!text.empty()) {
    const size_t end = std::min(text.find(' '), text.size());
    const std::string_view whole = text.substr(0, end);
    const std::string word =
        words == LongWords::kCut ? CutMiddle(whole, width) : std::string(whole);
    text.remove_prefix(std::min(end + 1, text.size()));
    std::string& line = lines.back();
    if (line.empty()) {
      line = word;
    } else if (WidthOf(line) + 1 + WidthOf(word) <= width - (lines.size() > 1 ? hanging : 0)) {
      line += " " + word;
    } else {
      lines.push_back(word);
    }
  }
  return lines;
}

std::string Folded(std::string_view text, std::string_view indent, const Look& look) {
  if (!look.folds || WidthOf(text) <= look.width) return std::string(text);
  std::string out;
  const size_t taken = std::min(WidthOf(indent), look.width / 2);
  for (const std::string& line : Wrap(text, look.width, LongWords::kKept, taken)) {
    out += (out.empty() ? "" : "\n" + std::string(indent)) + line;
  }
  return out;
}

void MakeSafe(google::protobuf::Message* message) {
  using google::protobuf::FieldDescriptor;
  const auto* reflection = message->GetReflection();
  std::vector<const FieldDescriptor*> fields;
  reflection->ListFields(*message, &fields);
  for (const FieldDescriptor* field : fields) {
    const int count = field->is_repeated() ? reflection->FieldSize(*message, field) : 1;
    for (int i = 0; i < count; ++i) {
      if (field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
        MakeSafe(field->is_repeated() ? reflection->MutableRepeatedMessage(message, field, i)
                                      : reflection->MutableMessage(message, field));
      } else if (field->cpp_type() != FieldDescriptor::CPPTYPE_STRING) {
        break;
      } else if (field->is_repeated()) {
        reflection->SetRepeatedString(message, field, i,
                                      SafeText(reflection->GetRepeatedString(*message, field, i)));
      } else {
        reflection->SetString(message, field, SafeText(reflection->GetString(*message, field)));
      }
    }
  }
}

std::string Brief(double seconds) {
  const double step = seconds < 0.9995 ? 1e-3 : seconds < 59.95 ? 0.1 : 1;
  return FormatDuration(FromSeconds(std::round(seconds / step) * step));
}

std::string Steady(double seconds) {
  if (seconds >= 59.95) return Brief(seconds);
  const long tenths = std::lround(std::max(0.0, seconds) * 10);
  return std::to_string(tenths / 10) + "." + std::to_string(tenths % 10) + "s";
}

std::string Coarse(double seconds) {
  const double step = seconds < 1 ? 1e-3 : seconds < 3600 ? 1 : seconds < 86400 ? 60 : 3600;
  return FormatDuration(FromSeconds(std::floor(seconds / step) * step));
}

std::string Grouped(double count) {
  std::string digits = std::to_string(static_cast<int64_t>(std::llround(count)));
  for (int64_t at = static_cast<int64_t>(digits.size()) - 3; at > 0; at -= 3) {
    digits.insert(static_cast<size_t>(at), 1, ',');
  }
  return digits;
}

std::string Counted(double count, std::string_view noun) {
  const bool sibilant = noun.ends_with("s");
  return Grouped(count) + " " + std::string(noun) + (count == 1 ? "" : sibilant ? "es" : "s");
}

}  // namespace lastcall
