// Text from outside, made safe to send, to log and to show.
//
//   cause.who = SafeText(std::move(comm), kMaxSafeName);   // "останови\xd1"
//
// Method names, peers, names of processes, users and files, certificates, plugins' words and
// exceptions may be any bytes. Protobuf refuses a message with a string that is not UTF-8, a line
// break forges a line of the log, and a terminal obeys control characters. So each text is made
// safe once, where it enters; everything behind that edge may take strings as they are.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace lastcall {

// What texts may be long, in bytes: names of anything, of which there may be many, and all others.
inline constexpr size_t kMaxSafeName = 256;
inline constexpr size_t kMaxSafeText = 4096;

// U+0000 to U+001F, U+007F to U+009F, which steer terminals; U+2028 and U+2029, which some readers
// take for line breaks; U+202A to U+202E and U+2066 to U+2069, which show the text around them in
// another order.
constexpr bool IsUnsafeCharacter(char32_t code) {
  return code < 0x20 || (code >= 0x7F && code <= 0x9F) || (code >= 0x2028 && code <= 0x202E) ||
         (code >= 0x2066 && code <= 0x2069);
}

// Whether `text` is UTF-8 without unsafe characters.
bool IsSafeText(std::string_view text);

// `text` as it is where it is safe and no longer than `limit`, which costs one look at it.
// Otherwise unsafe characters are written as \n, \r, \t, \x1b or \u202e, and bytes that are not
// UTF-8 as \xff; what does not fit goes, at the end of a character, and "…" says so. Never more
// work than `limit` takes. To do it twice is to do it once: a backslash stays as it is, so that a
// text which holds the four characters \xff looks like one with that byte.
std::string SafeText(std::string text, size_t limit = kMaxSafeText);

// The same for a text of several lines: its line breaks stay, with `indent` behind each, so that no
// line can pass for the first of another message. Twice indented is not once indented.
std::string SafeLines(std::string text, size_t limit = std::string::npos,
                      std::string_view indent = "");

}  // namespace lastcall
