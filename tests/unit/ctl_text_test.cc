// Text for people: widths, cuts, numbers, tables, JSON.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ctl_samples.h"
#include "json_output.h"
#include "table.h"
#include "text.h"

namespace lastcall {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

TEST(TextTest, WidthCountsCodePoints) {
  EXPECT_EQ(WidthOf(""), 0u);
  EXPECT_EQ(WidthOf("plain"), 5u);
  EXPECT_EQ(WidthOf("größe…"), 6u);
}

TEST(TextTest, CutsInTheMiddle) {
  EXPECT_EQ(CutMiddle("short", 5), "short");
  EXPECT_EQ(CutMiddle("/usr/lib/plugins", 9), "/usr…gins");
  EXPECT_EQ(CutMiddle("/usr/lib/plugins", 8), "/usr…ins");
  EXPECT_EQ(CutMiddle("äöüäöüäöü", 5), "äö…öü");
  EXPECT_EQ(CutMiddle("long", 1), "…");
  EXPECT_EQ(CutMiddle("long", 0), "");
}

TEST(TextTest, WrapsAtBlanks) {
  EXPECT_THAT(Wrap("", 10), ElementsAre(""));
  EXPECT_THAT(Wrap("one two three", 7), ElementsAre("one two", "three"));
  EXPECT_THAT(Wrap("a-very-long-word it is", 8), ElementsAre("a-ve…ord", "it is"));
}

TEST(TextTest, FoldsAtBlanksAndLeavesWordsWhole) {
  const Look look{.width = 20, .folds = true};
  EXPECT_EQ(Folded("one two three", "  ", look), "one two three");
  EXPECT_EQ(Folded("cannot reach /run/lastcall/admin.sock by now", "  ", look),
            "cannot reach\n  /run/lastcall/admin.sock\n  by now");
  // The first line has no indent.
  EXPECT_EQ(Folded("one two three four fives six", "          ", look),
            "one two three four\n          fives six");
  EXPECT_EQ(Folded("a line of a pipe is one, however long", "  ", {.width = 20}),
            "a line of a pipe is one, however long");
}

TEST(TextTest, TimesAreShort) {
  EXPECT_EQ(Brief(0), "0s");
  EXPECT_EQ(Brief(0.0098), "10ms");
  EXPECT_EQ(Brief(0.85), "850ms");
  EXPECT_EQ(Brief(4.2349), "4.2s");
  EXPECT_EQ(Brief(18.75), "18.8s");
  EXPECT_EQ(Brief(59.97), "1m");
  EXPECT_EQ(Brief(90), "1m30s");
  EXPECT_EQ(Brief(1e10), "infinity");
  EXPECT_EQ(Steady(3), "3.0s");
  EXPECT_EQ(Steady(0.25), "0.3s");
  EXPECT_EQ(Steady(90.4), "1m30s");
  EXPECT_EQ(Coarse(0.25), "250ms");
  EXPECT_EQ(Coarse(59.9), "59s");
  EXPECT_EQ(Coarse(11'533.7), "3h12m");
  EXPECT_EQ(Coarse(4 * 86400 + 7 * 3600 + 59 * 60), "4d7h");
}

TEST(TextTest, NumbersAreGroupedAndCounted) {
  EXPECT_EQ(Grouped(0), "0");
  EXPECT_EQ(Grouped(999), "999");
  EXPECT_EQ(Grouped(1000), "1,000");
  EXPECT_EQ(Grouped(1'204'811), "1,204,811");
  EXPECT_EQ(Counted(1, "call"), "1 call");
  EXPECT_EQ(Counted(2, "process"), "2 processes");
}

TEST(TableTest, AlignsAndLeavesNoTrailingBlanks) {
  TextTable table({{"NAME"}, {"COUNT", Align::kRight}, {"NOTE"}});
  table.Add({{"größe"}, {"7"}, {"first\nsecond"}});
  table.Add({{"b"}, {"1,000"}, {""}});
  EXPECT_EQ(table.Render({}),
            "NAME   COUNT  NOTE\n"
            "größe      7  first\n"
            "              second\n"
            "b      1,000\n");
}

TEST(TableTest, CutsTheWidestAndWrapsTheLast) {
  TextTable table({{"NAME"}, {"PLACE"}, {"NOTE"}});
  table.Add({{"abcdefghijklmnopqrstuvwxyz"}, {"here"}, {"one two three four five six seven"}});
  EXPECT_EQ(table.Render({.width = 50}),
            "NAME               PLACE  NOTE\n"
            "abcdefgh…stuvwxyz  here   one two three four five\n"
            "                          six seven\n");
}

TEST(TableTest, NamesAndNumbersAreNeverCut) {
  TextTable table({{"SERVER", Align::kName},
                   {"PROCESS", Align::kName},
                   {"HEALTH"},
                   {"CALLS", Align::kRight},
                   {"LISTEN"}});
  const std::string server(30, 's'), process(26, 'p');
  table.Add({{server}, {process}, {"serving"}, {"1,204,811,000,000"}, {"here"}});
  table.Add({{"short"}, {"main"}, {"serving"}, {"7"}, {"there"}});
  EXPECT_EQ(table.Render({.width = 60}),
            "SERVER  PROCESS  HEALTH               CALLS  LISTEN\n" + server + "\n        " +
                process +
                "\n                 serving  1,204,811,000,000  here\n"
                "short   main     serving                  7  there\n");
}

TEST(TableTest, NamesAreInLineWhereThereIsRoom) {
  TextTable table({{"SERVER", Align::kName}, {"LISTEN"}});
  table.Add({{std::string(30, 's')}, {"here"}});
  EXPECT_EQ(table.Render({.width = 60}),
            "SERVER                          LISTEN\n" + std::string(30, 's') + "  here\n");
}

TEST(TableTest, ColoursDoNotCountAsWidth) {
  TextTable table({{"A"}, {"B"}});
  table.Add({{"x", Colour::kRed}, {"y", Colour::kGreen}});
  EXPECT_EQ(table.Render({.colour = true}),
            "\x1b[2mA\x1b[0m  \x1b[2mB\x1b[0m\n\x1b[31mx\x1b[0m  \x1b[32my\x1b[0m\n");
}

TEST(JsonTest, KeepsTheNamesOfTheProtoAndPrintsZeros) {
  const std::string json = ToJson(ServingStatus());
  EXPECT_THAT(json, HasSubstr(R"("calls_in_flight":0)"));
  EXPECT_THAT(json, HasSubstr(R"("calls_total":1204811)"));
  EXPECT_THAT(json, Not(HasSubstr("plan")));
  EXPECT_THAT(json, Not(HasSubstr("next_start_in_s")));
  EXPECT_THAT(json, Not(HasSubstr("\n")));
}

TEST(JsonTest, KindComesFirst) {
  EXPECT_EQ(WithKind("Thing", R"({"a":1})"),
            R"({"api_version":"lastcall/v1","kind":"Thing","a":1})");
  EXPECT_EQ(WithKind("Thing", "{}"), R"({"api_version":"lastcall/v1","kind":"Thing"})");
  EXPECT_EQ(Splice(R"({"a":1})", R"({ "b":{}})"), R"({"a":1,"b":{}})");
}

}  // namespace
}  // namespace lastcall
