// Calls as text: golden.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>
#include <string>
#include <vector>

#include "ctl_samples.h"
#include "live_lines.h"
#include "render_calls.h"
#include "render_finished.h"

namespace lastcall {
namespace {

using admin::v1::Call;
using admin::v1::GetCallResponse;
using admin::v1::ListCallsResponse;
using testing::AllOf;
using testing::ElementsAre;
using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

const Look kTerminal{.width = 80, .folds = true};

ListCallsResponse Sorted(ListCallsResponse list) {
  SortCalls(list.mutable_calls());
  SortFinished(list.mutable_finished());
  return list;
}

void ExpectNoLongLines(const std::string& text, size_t width) {
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) EXPECT_LE(WidthOf(line), width) << line;
}

TEST(RenderCallsTest, EveryColumnOnAWideScreen) {
  EXPECT_EQ(
      RenderCalls(Sorted(SomeCalls()), false, {.width = 120}),
      R"(ID           METHOD              KIND           PEER              AGE   IDLE  IN    OUT  DEADLINE  WAITS FOR
main/3/4711  /shop.Prices/Watch  bidi stream    127.0.0.1:41022  3m2s  2m58s  12  1,204         -  handler
main/3/4800  /shop.Orders/Place  unary          127.0.0.1:41022    2s     2s   1      0        7s  handler
main/3/12    /shop.Prices/Watch  server stream  127.0.0.1:41022  1h2m  250ms  12  1,204         -  client

3 calls in flight
process old does not answer: its calls are not listed
process reports is not a lastcall-host: its calls cannot be seen
)");
}

TEST(RenderCallsTest, WhatMattersMostOnAnOrdinaryTerminal) {
  EXPECT_EQ(RenderCalls(Sorted(SomeCalls()), false, kTerminal),
            R"(ID           METHOD              PEER              AGE   IDLE  WAITS FOR
main/3/4711  /shop.Prices/Watch  127.0.0.1:41022  3m2s  2m58s  handler
main/3/4800  /shop.Orders/Place  127.0.0.1:41022    2s     2s  handler
main/3/12    /shop.Prices/Watch  127.0.0.1:41022  1h2m  250ms  client

3 calls in flight; no room here for KIND, DEADLINE, IN and OUT
process old does not answer: its calls are not listed
process reports is not a lastcall-host: its calls cannot be seen
)");
}

TEST(RenderCallsTest, ObserversAreShownNoColumnOfPeers) {
  ListCallsResponse list = SomeCalls();
  for (Call& call : *list.mutable_calls()) call.clear_peer();
  const std::string text = RenderCalls(list, false, {.width = 120});
  EXPECT_THAT(text, AllOf(Not(HasSubstr("PEER")), Not(HasSubstr("no room"))));
  EXPECT_THAT(RenderCalls(list, false, kTerminal), Not(HasSubstr("PEER")));
}

TEST(RenderCallsTest, CallsOfSeveralServersSayOfWhich) {
  ListCallsResponse list = Sorted(SomeCalls());
  list.mutable_calls(2)->set_server("internal");
  EXPECT_THAT(RenderCalls(list, false, {.width = 130}),
              AllOf(StartsWith("ID           SERVER    METHOD  "),
                    HasSubstr("\nmain/3/4711  public    /shop.Prices/Watch  "),
                    HasSubstr("\nmain/3/12    internal  /shop.Prices/Watch  ")));
}

TEST(RenderCallsTest, LongNamesFitAndIdsStayWhole) {
  ListCallsResponse list = SomeCalls();
  const std::string id = "public-interface-of-the-whole-corporation/12/1204811";
  list.mutable_calls(0)->set_id(id);
  list.mutable_calls(0)->set_method(
      "/corporation.department.billing.v2.InvoiceReconciliation/StreamEverything");
  list.mutable_calls(0)->set_peer("[2001:db8:85a3::8a2e:370:7334]:50412");
  list.add_not_seen_into("the-process-with-the-reports-of-the-whole-corporation");
  for (const size_t width : {60, 80, 100, 120}) {
    const std::string text = RenderCalls(list, false, {.width = width, .folds = true});
    ExpectNoLongLines(text, width);
    EXPECT_THAT(text, HasSubstr(id));
    EXPECT_THAT(text, HasSubstr("verything"));
  }
}

TEST(RenderCallsTest, DeadlineThatHasPassed) {
  ListCallsResponse list;
  *list.add_calls() = HeldCall();
  list.mutable_calls(0)->set_deadline_in_s(-65);
  EXPECT_THAT(RenderCalls(list, false, {.width = 120}), HasSubstr("  1m5s ago  "));
  GetCallResponse one;
  *one.mutable_call() = list.calls(0);
  EXPECT_THAT(RenderCall(one, {}), HasSubstr("  deadline       passed 1m5s ago\n"));
}

TEST(RenderCallsTest, ControlCharactersDoNotReachTheScreen) {
  ListCallsResponse list = SomeCalls();
  list.mutable_calls(0)->set_peer("\x1b[2J");
  list.mutable_calls(1)->set_method("a\nb");
  list.set_not_answering(0, "evil\x07");
  for (const std::string& text :
       {RenderCalls(list, false, {.width = 120}), RenderCalls(list, false, kTerminal)}) {
    EXPECT_THAT(text,
                AllOf(Not(HasSubstr("\x1b")), Not(HasSubstr("\x07")), Not(HasSubstr("a\nb"))));
  }
  for (const std::string& line : CallsFrame(list, false, kTerminal)) {
    EXPECT_THAT(line, AllOf(Not(HasSubstr("\x1b")), Not(HasSubstr("\x07")), Not(HasSubstr("\n"))));
  }
}

size_t RowsTaken(const std::vector<std::string>& lines, size_t width) {
  size_t rows = 0;
  for (const std::string& line : lines) rows += RowsOf(line, width);
  return rows;
}

TEST(CallsFrameTest, FillsTheScreenAndNoMore) {
  for (size_t height = 1; height < 60; ++height) {
    const Look look{.width = 80, .height = height, .folds = true};
    const auto lines = CallsFrame(ManyCalls(40), false, look);
    const size_t room = std::max<size_t>(height, 2) - 1;
    EXPECT_LE(RowsTaken(lines, 80), room) << height;
    // Titles without a call would say nothing.
    if (height != 4 && height <= 43) {
      EXPECT_EQ(RowsTaken(lines, 80), room) << height;
    }
    EXPECT_THAT(lines.front(), StartsWith("40 calls in flight")) << height;
  }
}

TEST(CallsFrameTest, SaysWhatIsNotKnownAboveTheTable) {
  ListCallsResponse list = SomeCalls();
  const Look look{.width = 120, .height = 7};
  EXPECT_THAT(
      CallsFrame(list, false, look),
      ElementsAre("3 calls in flight", "process old does not answer: its calls are not listed",
                  "process reports is not a lastcall-host: its calls cannot be seen",
                  StartsWith("ID "), StartsWith("main/"), "… and 2 more"));
}

TEST(CallsFrameTest, CallsThatTakeTwoLinesAreCountedAsTwo) {
  ListCallsResponse list = ManyCalls(40);
  for (Call& call : *list.mutable_calls()) {
    call.set_id("public-interface-of-the-whole-corporation/12/1204811");
  }
  for (size_t height = 5; height < 60; ++height) {
    const auto lines = CallsFrame(list, false, {.width = 80, .height = height});
    EXPECT_LE(RowsTaken(lines, 80), height - 1) << height;
    EXPECT_GE(RowsTaken(lines, 80) + 2, height - 1) << height;
  }
}

// The lines that stand there are as many rows as the terminal has made of them since.
TEST(LiveLinesTest, GoesBackOverLinesThatANarrowerTerminalHasBroken) {
  std::ostringstream out;
  LiveLines lines(out);
  lines.Show({std::string(70, 'x'), "short"}, 80);
  out.str("");
  lines.Show({"new"}, 40);
  EXPECT_EQ(out.str(), "\x1b[3A\rnew\x1b[K\n\x1b[J");
}

TEST(RenderCallTest, EverythingAboutOneCall) {
  GetCallResponse one;
  *one.mutable_call() = HeldCall();
  one.add_stack("__GI___poll+0x4f");
  one.add_stack(
      "shop::Prices::Watch(grpc::ServerContext*, shop::Query const*, "
      "grpc::ServerWriter<shop::Price>*)+0x1c2");
  const std::string text = RenderCall(one, kTerminal);
  ExpectNoLongLines(text, 80);
  EXPECT_EQ(text, R"(main/3/4711: /shop.Prices/Watch
  server         public
  process        main, incarnation 3
  kind           bidi stream
  peer           127.0.0.1:41022
  identity       till-7
  age            3m2s
  idle           2m58s
  messages       12 in, 1,204 out
  deadline       none
  waits for      handler
  told to leave  no
  thread         4242

stack
  #0  __GI___poll+0x4f
  #1  shop::Prices::Watch(grpc::ServerConte…c::ServerWriter<shop::Price>*)+0x1c2
)");
}

TEST(RenderCallTest, WhereItSpendsItsTimeIsATree) {
  GetCallResponse one;
  *one.mutable_call() = HeldCall();
  one.add_stack("Parse()");
  one.add_profile("20 looks at thread 4711 in 4.2s");
  one.add_profile("20 (100 %) Handle()");
  one.add_profile("  12 (60 %) Parse()");
  EXPECT_THAT(RenderCall(one, {}),
              EndsWith("\nprofile\n  20 looks at thread 4711 in 4.2s\n  20 (100 %) Handle()\n"
                       "    12 (60 %) Parse()\n"));
}

TEST(RenderCallTest, WithoutAStackItSaysWhy) {
  GetCallResponse one;
  *one.mutable_call() = HeldCall();
  one.mutable_call()->set_waits_for(Call::WAITS_APPLICATION);
  one.mutable_call()->set_thread(0);
  one.mutable_call()->clear_peer();
  one.mutable_call()->set_told(true);
  one.mutable_call()->set_deadline_in_s(9.2);
  one.set_no_stack("no thread runs its handler\x1b");
  EXPECT_THAT(
      RenderCall(one, {}),
      AllOf(HasSubstr("  peer           not known\n"), HasSubstr("  deadline       in 9s\n"),
            HasSubstr("  waits for      application: no thread runs it, and nothing is "
                      "awaited\n  told to leave  yes\n\n"),
            EndsWith("\n\nno stack: no thread runs its handler\\x1b\n")));
}

TEST(RenderFinishedTest, SlowestAndLastFailedOfEachMethod) {
  EXPECT_EQ(RenderFinished(Sorted(SomeFinishedCalls()), false, {.width = 120}),
            R"(/shop.Prices/Watch of public, incarnation 3: 1,204 failed
  WHICH     TOOK  STATUS             ENDED AT              PEER             MESSAGE
  slowest    10m  DEADLINE_EXCEEDED  2026-11-21T02:18:10Z  127.0.0.1:41022  Deadline Exceeded
  failed   33.4s  CANCELLED          2026-11-21T02:18:10Z  127.0.0.1:41022  cancelled by the operator: it holds a lock

/shop.Orders/Place of public, incarnation 3: 0 failed
  WHICH    TOOK  STATUS  ENDED AT              PEER
  slowest  4.2s  OK      2026-11-21T02:18:10Z  127.0.0.1:41022

1,204 calls failed in all
)");
}

TEST(RenderFinishedTest, FitsIntoAnOrdinaryTerminal) {
  ListCallsResponse list = Sorted(SomeFinishedCalls());
  const std::string text = RenderFinished(list, false, kTerminal);
  ExpectNoLongLines(text, 80);
  EXPECT_EQ(text, R"(/shop.Prices/Watch of public, incarnation 3: 1,204 failed
  WHICH     TOOK  STATUS             ENDED AT              MESSAGE
  slowest    10m  DEADLINE_EXCEEDED  2026-11-21T02:18:10Z  Deadline Exceeded
  failed   33.4s  CANCELLED          2026-11-21T02:18:10Z  cancelled by the
                                                           operator: it holds a
                                                           lock

/shop.Orders/Place of public, incarnation 3: 0 failed
  WHICH    TOOK  STATUS  ENDED AT              PEER
  slowest  4.2s  OK      2026-11-21T02:18:10Z  127.0.0.1:41022

1,204 calls failed in all
)");
}

TEST(RenderFinishedTest, ObserversAreShownNoColumnOfPeersAndStatusesHaveNames) {
  ListCallsResponse list = SomeFinishedCalls();
  list.mutable_finished(1)->mutable_slowest(0)->clear_peer();
  list.mutable_finished(1)->mutable_failures(0)->clear_peer();
  list.mutable_finished(1)->mutable_failures(0)->set_status(99);
  list.mutable_finished(1)->mutable_failures(0)->set_message("\x1b[2J");
  list.mutable_finished()->DeleteSubrange(0, 1);
  list.add_not_seen_into("reports");
  const std::string text = RenderFinished(list, false, {});
  EXPECT_THAT(text, AllOf(Not(HasSubstr("PEER")), Not(HasSubstr("\x1b")), HasSubstr("\\x1b[2J"),
                          HasSubstr("  failed   33.4s  99  "),
                          EndsWith("\n1,204 calls failed in all\nprocess reports is not a "
                                   "lastcall-host: its calls cannot be seen\n")));
}

TEST(RenderCallsTest, WhatIsStalledComesFirstWithWhy) {
  admin::v1::ListCallsResponse response;
  for (int i = 0; i < 3; ++i) {
    admin::v1::Call& call = *response.add_calls();
    call.set_id("main/1/" + std::to_string(i));
    call.set_method("/s/M");
    call.set_age_s(100 - i);
    call.set_waits_for(admin::v1::Call::WAITS_HANDLER);
  }
  response.mutable_calls(2)->set_stalled(true);
  response.mutable_calls(2)->set_why("blocked in read of fd 7");
  SortCalls(response.mutable_calls());
  EXPECT_EQ(response.calls(0).id(), "main/1/2");
  EXPECT_THAT(RenderCalls(response, false, {.width = 120}), HasSubstr("blocked in read of fd 7"));
  admin::v1::GetCallResponse one;
  *one.mutable_call() = response.calls(0);
  EXPECT_THAT(RenderCall(one, {.width = 120}), HasSubstr("stalled        blocked in read of fd 7"));
}

}  // namespace
}  // namespace lastcall
