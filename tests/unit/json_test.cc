// JSON as it is written: separators, escapes, numbers, and bytes that are no text.
#include <lastcall/base/json.h>

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace lastcall {
namespace {

std::string Text(std::string_view value) { return JsonWriter().String(value).text(); }
std::string Number(double value) { return JsonWriter().Number(value).text(); }

TEST(JsonWriterTest, NestsAndSeparates) {
  JsonWriter json;
  json.BeginObject();
  json.Key("a").Integer(1);
  json.Key("b").BeginArray().Integer(1).String("x").BeginObject().EndObject().EndArray();
  json.Key("c").BeginObject().Key("d").Null().EndObject();
  json.Key("e").BeginArray().EndArray();
  json.Key("f").Boolean(true).Key("g").Boolean(false);
  json.EndObject();
  EXPECT_EQ(json.text(), R"({"a":1,"b":[1,"x",{}],"c":{"d":null},"e":[],"f":true,"g":false})");
}

TEST(JsonWriterTest, RawTextIsAValueLikeOthers) {
  JsonWriter json;
  json.BeginArray().Raw(R"({"x":1})").Raw("2").EndArray();
  EXPECT_EQ(json.text(), R"([{"x":1},2])");
}

TEST(JsonWriterTest, KeysAreEscapedToo) {
  EXPECT_EQ(JsonWriter().BeginObject().Key("a\"b").Null().EndObject().text(), R"({"a\"b":null})");
}

TEST(JsonWriterTest, StringsAreEscaped) {
  EXPECT_EQ(Text(""), R"("")");
  EXPECT_EQ(Text("plain / text"), R"("plain / text")");
  EXPECT_EQ(Text("\"\\\n\r\t"), R"("\"\\\n\r\t")");
  EXPECT_EQ(Text(std::string_view("\0\x01\x1f\x7f", 4)), R"("\u0000\u0001\u001f\u007f")");
}

TEST(JsonWriterTest, Utf8IsKept) {
  EXPECT_EQ(Text("é€😀"), "\"é€😀\"");
  EXPECT_EQ(Text("\xF4\x8F\xBF\xBF"), "\"\xF4\x8F\xBF\xBF\"");  // U+10FFFF, the last
}

TEST(JsonWriterTest, BytesThatAreNoUtf8AreReplacedOneByOne) {
  const std::string bad = "\xEF\xBF\xBD";
  EXPECT_EQ(Text("\xFF"), '"' + bad + '"');
  EXPECT_EQ(Text("a\x80z"), "\"a" + bad + "z\"");  // a continuation by itself
  EXPECT_EQ(Text("\xC3"), '"' + bad + '"');        // cut off
  EXPECT_EQ(Text(std::string_view("\xC3\xA9", 1)), '"' + bad + '"')
      << "what follows is not its own";
  EXPECT_EQ(Text("\xE2\x82"), '"' + bad + bad + '"');  // cut off
  EXPECT_EQ(Text("\xC3("), '"' + bad + "(\"");         // no continuation
  EXPECT_EQ(Text("\xC0\xAF"), '"' + bad + bad + '"');  // longer than needed
  EXPECT_EQ(Text("\xE0\x80\xAF"), '"' + bad + bad + bad + '"');
  EXPECT_EQ(Text("\xED\xA0\x80"), '"' + bad + bad + bad + '"');            // half a surrogate pair
  EXPECT_EQ(Text("\xF4\x90\x80\x80"), '"' + bad + bad + bad + bad + '"');  // beyond the last
}

TEST(JsonWriterTest, IntegersAreWhole) {
  EXPECT_EQ(JsonWriter().Integer(0).text(), "0");
  EXPECT_EQ(JsonWriter().Integer(std::numeric_limits<int64_t>::min()).text(),
            "-9223372036854775808");
  EXPECT_EQ(JsonWriter().Integer(std::numeric_limits<int64_t>::max()).text(),
            "9223372036854775807");
}

TEST(JsonWriterTest, NumbersHaveSixDecimalsAtMost) {
  EXPECT_EQ(Number(0), "0");
  EXPECT_EQ(Number(-0.0), "0");
  EXPECT_EQ(Number(-1e-9), "0");
  EXPECT_EQ(Number(1.5), "1.5");
  EXPECT_EQ(Number(-1.5), "-1.5");
  EXPECT_EQ(Number(100), "100");
  EXPECT_EQ(Number(0.1234567), "0.123457");
  EXPECT_EQ(Number(0.000001), "0.000001");
  EXPECT_EQ(Number(1e21), "1000000000000000000000");
}

TEST(JsonWriterTest, NumbersThatJsonHasNotAreNull) {
  EXPECT_EQ(Number(std::numeric_limits<double>::infinity()), "null");
  EXPECT_EQ(Number(-std::numeric_limits<double>::infinity()), "null");
  EXPECT_EQ(Number(std::nan("")), "null");
}

TEST(JsonWriterTest, LargestNumberIsWhole) {
  const std::string text = Number(std::numeric_limits<double>::max());
  EXPECT_EQ(text.size(), 309u);
  EXPECT_EQ(std::stod(text), std::numeric_limits<double>::max());
}

}  // namespace
}  // namespace lastcall
