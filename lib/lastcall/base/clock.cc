#include "lastcall/base/clock.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <ctime>

namespace lastcall {
namespace {

struct Unit {
  std::string_view name;
  double seconds;
};

constexpr std::array<Unit, 7> kUnits{
    {{"ns", 1e-9}, {"us", 1e-6}, {"ms", 1e-3}, {"s", 1}, {"m", 60}, {"h", 3600}, {"d", 86400}}};

const Unit* FindUnit(std::string_view name) {
  for (const Unit& unit : kUnits) {
    if (unit.name == name) return &unit;
  }
  return nullptr;
}

tl::unexpected<Error> BadDuration(std::string_view text, std::string_view why) {
  return Fail(Code::kInvalidArgument, "\"" + std::string(text) +
                                          "\" is not a duration: " + std::string(why) +
                                          "; write for example \"250ms\", \"5s\" or \"1m30s\"");
}

std::string Trimmed(double value) {
  std::array<char, 32> buffer;
  std::snprintf(buffer.data(), buffer.size(), "%.3g", value);
  return buffer.data();
}

}  // namespace

Result<Duration> ParseDuration(std::string_view text) {
  if (text == "infinity") return kForever;
  if (text.empty()) return BadDuration(text, "it is empty");
  double seconds = 0;
  std::string_view rest = text;
  while (!rest.empty()) {
    double number = 0;
    const auto [end, error] =
        std::from_chars(rest.data(), rest.data() + rest.size(), number, std::chars_format::fixed);
    if (error != std::errc() || !std::isfinite(number)) {
      return BadDuration(text, "it needs a number with a unit");
    }
    if (std::signbit(number)) return BadDuration(text, "it must not be negative");
    rest.remove_prefix(end - rest.data());
    const size_t length = std::min(rest.find_first_of("0123456789.-"), rest.size());
    const std::string_view name = rest.substr(0, length);
    if (name.empty()) return BadDuration(text, "the unit is missing");
    const Unit* unit = FindUnit(name);
    if (unit == nullptr) {
      return BadDuration(text, "\"" + std::string(name) + "\" is not one of ns us ms s m h d");
    }
    seconds += number * unit->seconds;
    rest.remove_prefix(length);
  }
  return FromSeconds(seconds);
}

std::string FormatDuration(Duration length) {
  if (length == kForever) return "infinity";
  if (length < Duration::zero()) return "-" + FormatDuration(-std::max(length, -kForever));
  const double seconds = ToSeconds(length);
  if (seconds == 0) return "0s";
  if (seconds < 0.9995e-3) return Trimmed(seconds * 1e6) + "us";
  if (seconds < 0.9995) return Trimmed(seconds * 1e3) + "ms";
  if (seconds < 59.95) return Trimmed(seconds) + "s";
  const auto whole = static_cast<int64_t>(std::llround(seconds));
  const int64_t days = whole / 86400, hours = whole / 3600 % 24, minutes = whole / 60 % 60;
  std::string text;
  if (days > 0) text += std::to_string(days) + "d";
  if (hours > 0) text += std::to_string(hours) + "h";
  if (minutes > 0) text += std::to_string(minutes) + "m";
  if (whole % 60 > 0 && days == 0) text += std::to_string(whole % 60) + "s";
  return text;
}

std::string FormatWallTime(WallTime time) {
  const auto ms = std::chrono::floor<std::chrono::milliseconds>(time.time_since_epoch()).count();
  const std::time_t seconds = static_cast<std::time_t>(ms / 1000);
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  std::array<char, 40> buffer;
  const size_t size = std::strftime(buffer.data(), buffer.size(), "%Y-%m-%dT%H:%M:%S", &parts);
  std::snprintf(buffer.data() + size, buffer.size() - size, ".%03dZ", static_cast<int>(ms % 1000));
  return buffer.data();
}

double ToSeconds(Duration length) { return std::chrono::duration<double>(length).count(); }

bool IsLength(double seconds) { return seconds >= 0; }

Duration FromSeconds(double seconds) {
  if (!(seconds > 0)) return Duration::zero();
  if (seconds > 9e9) return kForever;
  return Duration(std::llround(seconds * 1e9));
}

}  // namespace lastcall
