// Text for people: widths, cuts, numbers, tables, JSON.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ctl_samples.h"
#include "json_output.h"
#include "table.h"
#include "text.h"
#include "words.h"

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

// Of equal turn together, and not before a column has been cut to what is enough of it.
TEST(TableTest, ColumnsGiveWayInTheirTurn) {
  TextTable table({{"NAME", Align::kName},
                   {.title = "PLACE", .enough = 6},
                   {.title = "KIND", .gives_way = 2},
                   {.title = "IN", .align = Align::kRight, .gives_way = 1},
                   {.title = "OUT", .align = Align::kRight, .gives_way = 1},
                   {"NOTE"}});
  table.Add({{"name"}, {"a long place"}, {"kind"}, {"1"}, {"2"}, {"note"}});
  const auto gone = [&](size_t width) { return TextTable(table).MakeRoom({.width = width}); };
  EXPECT_THAT(gone(33), testing::IsEmpty()) << "4 2 6 2 4 2 2 2 3 2 4";
  EXPECT_THAT(gone(32), testing::ElementsAre("IN", "OUT"));
  EXPECT_THAT(gone(24), testing::ElementsAre("IN", "OUT"));
  EXPECT_THAT(gone(23), testing::ElementsAre("IN", "OUT", "KIND"));
  EXPECT_THAT(gone(5), testing::ElementsAre("IN", "OUT", "KIND"));
  table.MakeRoom({.width = 24});
  EXPECT_EQ(table.Render({.width = 40}),
            "NAME  PLACE         KIND  NOTE\n"
            "name  a long place  kind  note\n");
}

TEST(TableTest, ColumnThatNobodyMissesIsLeftOut) {
  TextTable table({{"NAME"}, {.title = "PEER", .if_any = true}, {"NOTE"}});
  table.Add({{"a"}, {""}, {"first"}});
  TextTable known = table;
  EXPECT_THAT(table.MakeRoom({}), testing::IsEmpty()) << "there was room";
  EXPECT_EQ(table.Render({}), "NAME  NOTE\na     first\n");
  known.Add({{"b"}, {"::1"}, {"second"}});
  known.MakeRoom({});
  EXPECT_EQ(known.Render({}), "NAME  PEER  NOTE\na           first\nb     ::1   second\n");
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

TEST(JsonTest, OfALaterBuildANumberIsTold) {
  admin::v1::Status status;
  status.set_stage(static_cast<v1::Stage>(99));
  EXPECT_THAT(ToJson(status), StartsWith(R"({"stage":"99",)"));
  EXPECT_EQ(Word(status.stage()), "99");
  EXPECT_EQ(Word(v1::STAGE_UNSPECIFIED), "");
}

TEST(JsonTest, FieldsAreLeftOutWhereverTheyStand) {
  admin::v1::CancelCallsResponse response;
  response.set_cancelled(1);
  EXPECT_EQ(ToJson(response, {"cancelled"}), R"({"not_in_flight":[],"not_answering":[]})");
  EXPECT_EQ(ToJson(response, {"not_in_flight"}), R"({"cancelled":1,"not_answering":[]})");
  EXPECT_EQ(ToJson(response, {"not_in_flight", "not_answering"}), R"({"cancelled":1})");
}

TEST(JsonTest, KindComesFirst) {
  EXPECT_EQ(WithKind("Thing", R"({"a":1})"),
            R"({"api_version":"lastcall/v1","kind":"Thing","a":1})");
  EXPECT_EQ(WithKind("Thing", "{}"), R"({"api_version":"lastcall/v1","kind":"Thing"})");
  EXPECT_EQ(Splice(R"({"a":1})", R"({ "b":{}})"), R"({"a":1,"b":{}})");
}

// Scripts read it: every word of an enumeration is where it was.
TEST(JsonTest, AStatusIsWhatScriptsRead) {
  admin::v1::Status status;
  status.set_stage(v1::STAGE_DELAY);
  admin::v1::Process& process = *status.add_processes();
  process.set_stage(v1::STAGE_WAITING);
  process.add_retired()->set_stage(v1::STAGE_GRACE);
  process.mutable_successor()->set_step(admin::v1::Successor::STEP_SETTLING);
  status.add_servers()->set_health(admin::v1::Server::HEALTH_NOT_SERVING);
  status.mutable_servers(0)->add_listen("[::1]:1, \"}\\");
  using Change = admin::v1::ConfigChange;
  for (const auto sign : {Change::SIGN_NEW, Change::SIGN_GONE, Change::SIGN_CHANGED,
                          Change::SIGN_SAME, Change::SIGN_UNSPECIFIED}) {
    status.mutable_last_reload()->add_changes()->set_sign(sign);
  }
  status.mutable_plan()->add_requests()->mutable_cause()->set_kind(v1::Cause::KIND_SIGNAL);
  EXPECT_EQ(
      ToJson(status),
      R"({"stage":"delay","pid":0,"version":"","uptime_s":0,"config_file":"",)"
      R"("log_level":"","plan":{"requests":[{"cause":{"kind":"signal","signal":0,"pid":0,)"
      R"("uid":0,"who":"","reason":""},"at":"","moved":false,"skip":false}],)"
      R"("requests_left_out":"0"},"processes":[{"name":"","stage":"waiting","pid":0,)"
      R"("incarnation":0,"uptime_s":0,"restarts":0,"last_exit":"","answering":false,)"
      R"("retired":[{"incarnation":0,"pid":0,"stage":"grace","calls_in_flight":0,)"
      R"("replaced_by":""}],"successor":{"incarnation":0,"pid":0,"step":"settling",)"
      R"("ends_in_s":0,"by":""},"last_exit_incarnation":0,"frozen":""}],"servers":[{"name":"",)"
      R"("process":"","listen":["[::1]:1, \"}\\"],"health":"NOT_SERVING",)"
      R"("accepting":false,"calls_in_flight":0,"calls_total":0,"connections":0,)"
      R"("plugins":[],"methods":[],"calls_stalled":0,"offloads":[]}],"oldest_calls":[],)"
      R"("last_reload":{"at":"","by":"",)"
      R"("changes":[{"sign":"+","what":"","detail":"","values":[]},{"sign":"-","what":"",)"
      R"("detail":"","values":[]},{"sign":"~","what":"","detail":"","values":[]},{)"
      R"("sign":"=","what":"","detail":"","values":[]},{"sign":"","what":"","detail":"",)"
      R"("values":[]}],"processes":[],"refusal":""}})");
}

TEST(JsonTest, AReceiptIsWhatScriptsRead) {
  v1::Receipt receipt;
  receipt.add_stages()->set_stage(v1::STAGE_CANCEL);
  receipt.mutable_stages(0)->set_ended_by(v1::EVENT_DEADLINE_PASSED);
  receipt.add_stages()->set_planned_s(-1.5);
  receipt.add_stuck()->set_what(v1::StuckRecord::WHAT_PART);
  receipt.add_processes()->add_requests()->mutable_cause()->set_kind(v1::Cause::KIND_SUPERVISOR);
  EXPECT_EQ(ToJson(receipt),
            R"({"subject":"","pid":0,"incarnation":0,"exit_code":0,"outcome":"","began":"",)"
            R"("took_s":0,"requests":[],"stages":[{"stage":"cancel","planned_s":0,"took_s":0,)"
            R"("ended_by":"instant"},{"stage":"","planned_s":-1.5,"took_s":0,"ended_by":""}],)"
            R"("calls_finished":0,"calls_cancelled":0,"cancelled":[],"stuck":[{"what":"part",)"
            R"("name":"","age_s":0,"stack":[]}],"processes":[{"subject":"","pid":0,)"
            R"("incarnation":0,"exit_code":0,"outcome":"","began":"","took_s":0,"requests":[{)"
            R"("cause":{"kind":"supervisor","signal":0,"pid":0,"uid":0,"who":"","reason":""},)"
            R"("at":"","moved":false,"skip":false}],"stages":[],"calls_finished":0,)"
            R"("calls_cancelled":0,"cancelled":[],"stuck":[],"processes":[],"failure":"",)"
            R"("requests_left_out":"0"}],"failure":"","requests_left_out":"0"})");
}

}  // namespace
}  // namespace lastcall
