// What is kept of what a program wrote, and how it is shown.
#include <gtest/gtest.h>

#include <string>

#include <lastcall/base/safe_text.h>
#include <lastcall/child/output_tail.h>

namespace lastcall {
namespace {

OutputTail TailOf(const std::string& text, size_t kept = 4096) {
  OutputTail tail(kept);
  tail.Add(text);
  return tail;
}

TEST(OutputTailTest, SilenceIsEmpty) {
  EXPECT_EQ(OutputTail(10).Line(), "");
  EXPECT_EQ(OutputTail(10).Lines(), "");
  EXPECT_EQ(TailOf("\n\n").Line(), "");
  EXPECT_EQ(TailOf("\n\n").Lines(), "");
}

TEST(OutputTailTest, LineHasTheLastThreeThatSaySomething) {
  EXPECT_EQ(TailOf("one\ntwo\n\nthree\n\n\nfour").Line(), "two | three | four");
}

TEST(OutputTailTest, LinesAreAllWithoutTheLastBreak) {
  EXPECT_EQ(TailOf("one\ntwo\n\nthree\n\n").Lines(), "one\ntwo\n\nthree");
}

TEST(OutputTailTest, WhatComesInPiecesIsOneText) {
  OutputTail tail(16);
  for (const char each : std::string("the first\nthe \xc3\xa4nd")) tail.Add({&each, 1});
  EXPECT_EQ(tail.Line(), "e first | the \u00e4nd");
}

TEST(OutputTailTest, LinesThatWereCutBeginWithAWholeOne) {
  EXPECT_EQ(TailOf("one\ntwo\nthree\n", 9).Lines(), "…\nthree");
}

TEST(OutputTailTest, OneThatFitsExactlyIsWhole) { EXPECT_EQ(TailOf("one\n", 4).Lines(), "one"); }

TEST(OutputTailTest, ALongLineIsCutBetweenCharacters) {
  EXPECT_EQ(TailOf("abc\u00e4def", 4).Lines(), "…def");
  const std::string line = TailOf("<" + std::string(10000, 'a') + ">", 8192).Line();
  EXPECT_TRUE(line.starts_with("…a") && line.ends_with("a>")) << line;
  EXPECT_LE(line.size(), 410u);
}

TEST(OutputTailTest, AnyBytesAreMadeSafe) {
  std::string bytes = "red: \x1b[31m \xff \r\xe2\x80\xae\n";
  for (int i = 0; i < 256; ++i) bytes += static_cast<char>(i);
  EXPECT_TRUE(IsSafeText(TailOf(bytes).Line()));
  EXPECT_TRUE(TailOf(bytes).Lines().starts_with("red: \\x1b[31m \\xff \\r\\u202e\n"));
  EXPECT_TRUE(IsSafeText(TailOf(bytes, 100).Line()));
}

}  // namespace
}  // namespace lastcall
