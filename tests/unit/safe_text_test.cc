// Text from outside: what is safe stays as it is, what is not is written so that it can be read.
#include <lastcall/base/safe_text.h>

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

#include <lastcall/base/utf8.h>

namespace lastcall {
namespace {

std::string Repeat(const std::string& text, size_t times) {
  std::string all;
  for (size_t i = 0; i < times; ++i) all += text;
  return all;
}

TEST(SafeTextTest, WhatIsSafeStaysAsItIs) {
  for (const std::string text : {"", "/shop.Prices/Watch", "остановить.sh", "€ 😀 \xF4\x8F\xBF\xBF",
                                 "a\\b \\xff \"quoted\"", "עברית عربي"}) {
    EXPECT_TRUE(IsSafeText(text));
    EXPECT_EQ(SafeText(text), text);
    EXPECT_EQ(SafeLines(text), text);
  }
}

TEST(SafeTextTest, ControlCharactersAreWrittenAsEscapes) {
  EXPECT_EQ(SafeText("a\nb\rc\td"), "a\\nb\\rc\\td");
  EXPECT_EQ(SafeText(std::string("\0\x1b[31m\x7f", 7)), "\\x00\\x1b[31m\\x7f");
  EXPECT_EQ(SafeText("\u0080\u009b31m\u009f\u00a0"), "\\u0080\\u009b31m\\u009f\u00a0");
}

TEST(SafeTextTest, WhatReordersTextOrBreaksLinesIsWrittenAsEscapes) {
  EXPECT_EQ(SafeText("\u202A\u202B\u202C\u202D\u202E"), "\\u202a\\u202b\\u202c\\u202d\\u202e");
  EXPECT_EQ(SafeText("\u2066\u2067\u2068\u2069"), "\\u2066\\u2067\\u2068\\u2069");
  EXPECT_EQ(SafeText("\u2028\u2029"), "\\u2028\\u2029");
  EXPECT_EQ(SafeText("\u2027\u202F\u2065\u206A"), "\u2027\u202F\u2065\u206A");
}

TEST(SafeTextTest, BytesThatAreNoUtf8AreWrittenOneByOne) {
  EXPECT_EQ(SafeText("/a/\xff"), "/a/\\xff");
  EXPECT_EQ(SafeText("останов\xd0"), "останов\\xd0");  // cut off
  EXPECT_EQ(SafeText("\xE2\x82z"), "\\xe2\\x82z");     // cut off
  EXPECT_EQ(SafeText("\x80"), "\\x80");                // a continuation by itself
  EXPECT_EQ(SafeText("\xC0\xAF\xE0\x80\xAF"), "\\xc0\\xaf\\xe0\\x80\\xaf");  // longer than needed
  EXPECT_EQ(SafeText("\xF0\x8F\xBF\xBF"), "\\xf0\\x8f\\xbf\\xbf");
  EXPECT_EQ(SafeText("\xED\xA0\x80"), "\\xed\\xa0\\x80");           // half a surrogate pair
  EXPECT_EQ(SafeText("\xF4\x90\x80\x80"), "\\xf4\\x90\\x80\\x80");  // beyond U+10FFFF
  EXPECT_EQ(SafeText("\xF8\x88\x80\x80\x80"), "\\xf8\\x88\\x80\\x80\\x80");
}

TEST(SafeTextTest, WhatIsTooLongIsCutAtACharacter) {
  EXPECT_EQ(SafeText("0123456789", 10), "0123456789");
  EXPECT_EQ(SafeText("0123456789a", 10), "0123456…");
  EXPECT_EQ(SafeText("ééééé", 10), "ééééé");
  EXPECT_EQ(SafeText("éééééé", 10), "ééé…");
  EXPECT_EQ(SafeText("ab\xff\xff\xff", 10), "ab\\xff…") << "escapes are not cut either";
  EXPECT_EQ(SafeText("abc", 2), "") << "no room for anything";
  EXPECT_EQ(SafeText(Repeat("x", 1 << 20)).size(), kMaxSafeText);
}

TEST(SafeTextTest, LinesStayLines) {
  EXPECT_EQ(SafeLines("one\ntwo\x1b\n\nfour"), "one\ntwo\\x1b\n\nfour");
  EXPECT_EQ(SafeLines("one\r\ntwo"), "one\\r\ntwo");
  EXPECT_EQ(SafeLines("one\ntwo\n", 100, "  "), "one\n  two\n  ");
  EXPECT_EQ(SafeLines("one\ntwo\nthree", 9, "  "), "one\n  …");
}

// Any bytes, by any limit.
TEST(SafeTextTest, HoldsForWhateverComes) {
  const std::vector<std::string> pieces = {"a",    "\\",   "\n",       "\x1b",   "\x7f",   "\xff",
                                           "\xc3", "\xa9", "\u009b",   "\u202e", "\u2028", "é",
                                           "€",    "😀",    "\xed\xa0", "…"};
  std::mt19937 random(1);
  for (int round = 0; round < 20'000; ++round) {
    std::string text;
    for (unsigned length = random() % 20; length > 0; --length) {
      text += random() % 4 == 0 ? std::string(1, static_cast<char>(random()))
                                : pieces[random() % pieces.size()];
    }
    const size_t limit = random() % 40;
    const std::string safe = SafeText(text, limit);
    ASSERT_TRUE(IsSafeText(safe)) << safe;
    ASSERT_LE(safe.size(), limit);
    ASSERT_EQ(SafeText(safe, limit), safe) << "twice is once";
    const std::string whole = SafeText(text);
    ASSERT_EQ(whole == text, IsSafeText(text));
    if (whole.size() <= limit) {
      ASSERT_EQ(safe, whole);
    } else if (limit >= 3) {
      ASSERT_TRUE(safe.ends_with("…"));
      ASSERT_TRUE(whole.starts_with(safe.substr(0, safe.size() - 3)));
    }
  }
}

// Every code point is either written as it is, or is one of those that are named.
TEST(SafeTextTest, TellsEveryCharacter) {
  size_t unsafe = 0;
  for (char32_t code = 0; code <= 0x10FFFF; ++code) {
    if (code >= 0xD800 && code <= 0xDFFF) continue;
    std::string text;
    if (code < 0x80) {
      text = {static_cast<char>(code)};
    } else if (code < 0x800) {
      text = {static_cast<char>(0xC0 | code >> 6), static_cast<char>(0x80 | (code & 0x3F))};
    } else if (code < 0x10000) {
      text = {static_cast<char>(0xE0 | code >> 12), static_cast<char>(0x80 | (code >> 6 & 0x3F)),
              static_cast<char>(0x80 | (code & 0x3F))};
    } else {
      text = {static_cast<char>(0xF0 | code >> 18), static_cast<char>(0x80 | (code >> 12 & 0x3F)),
              static_cast<char>(0x80 | (code >> 6 & 0x3F)),
              static_cast<char>(0x80 | (code & 0x3F))};
    }
    const Utf8Character front = FrontCharacter(text);
    ASSERT_EQ(front.length, text.size());
    ASSERT_TRUE(front.code == code);
    ASSERT_EQ(IsSafeText(text), !IsUnsafeCharacter(code));
    unsafe += IsUnsafeCharacter(code);
  }
  EXPECT_EQ(unsafe, 32u + 33u + 7u + 4u);
}

}  // namespace
}  // namespace lastcall
