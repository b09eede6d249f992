// Values on their way from process to process and back.
#include "wire/convert.h"

#include <gtest/gtest.h>

#include <cmath>
#include <csignal>
#include <limits>

#include "daemon/handover/saved_state.h"
#include "lastcall/v1/word.pb.h"

namespace lastcall {
namespace {

using namespace std::chrono_literals;

// FormatWallTime's precision is what travels.
constexpr WallTime kWall{std::chrono::milliseconds(1'795'227'490'123)};

Ledger::Entry FullEntry() {
  Request request{.cause = {.kind = Cause::Kind::kSignal,
                            .signal = SIGTERM,
                            .pid = 812,
                            .uid = 4'000'000'000,
                            .who = "kill",
                            .reason = "upgrade"},
                  .wall = kWall,
                  .delay = 0s,
                  .grace = 1500ms,
                  .cancel = kForever};
  return {request, true};
}

Receipt FullReceipt() {
  Receipt process{.subject = "main", .pid = 712, .incarnation = 2, .exit_code = 3, .began = kWall};
  process.failure = "killed by SIGSEGV";
  Receipt receipt{.subject = "lastcalld",
                  .pid = 711,
                  .incarnation = 7,
                  .exit_code = 4,
                  .began = kWall,
                  .took = 21'500'123us};
  receipt.requests = {FullEntry(), {{.wall = kWall, .skip = true}, false}};
  receipt.stages = {{Stage::kDelay, 5s, 1ns, Event::kWentQuiet},
                    {Stage::kGrace, kForever, 20s, Event::kWentIdle},
                    {Stage::kCancel, 0s, 500ms, Event::kDeadlinePassed}};
  receipt.calls_finished = 17;
  receipt.calls_cancelled = 2;
  receipt.cancelled = {{"public", "/shop.Prices/Watch", "127.0.0.1:4711", 61s, true},
                       {"public", "/shop.Prices/Get", "unix:", 1ms, false}};
  receipt.stuck = {{Stuck::What::kCall, "/shop.Prices/Get", 2s, {"Get()", "main"}},
                   {Stuck::What::kPlugin, "plugin prices: Stop", 100ms, {}},
                   {Stuck::What::kPart, "the pool", 100ms, {}}};
  receipt.failure = "process main killed by SIGSEGV";
  receipt.processes = {process};
  return receipt;
}

TEST(ConvertTest, AReceiptComesBackAsItWas) {
  const Receipt receipt = FullReceipt();
  const Receipt back = FromProto(ToProto(receipt));
  EXPECT_EQ(back.ToJson(), receipt.ToJson());
  // What JSON rounds.
  EXPECT_EQ(back.took, receipt.took);
  EXPECT_EQ(back.stages[0].took, 1ns);
  EXPECT_EQ(ToProto(receipt).outcome(), receipt.Outcome());
}

TEST(ConvertTest, AnEmptyReceiptComesBackEmpty) {
  EXPECT_EQ(FromProto(ToProto(Receipt{})).ToJson(), Receipt{}.ToJson());
}

TEST(ConvertTest, ARequestComesBackWithoutItsInstant) {
  const Ledger::Entry entry = FullEntry();
  const Ledger::Entry back = FromProto(ToProto(entry));
  EXPECT_EQ(back.request.cause.kind, entry.request.cause.kind);
  EXPECT_EQ(back.request.cause.signal, entry.request.cause.signal);
  EXPECT_EQ(back.request.cause.pid, entry.request.cause.pid);
  EXPECT_EQ(back.request.cause.uid, entry.request.cause.uid);
  EXPECT_EQ(back.request.cause.who, entry.request.cause.who);
  EXPECT_EQ(back.request.cause.reason, entry.request.cause.reason);
  EXPECT_EQ(back.request.wall, entry.request.wall);
  EXPECT_EQ(back.request.delay, entry.request.delay);
  EXPECT_EQ(back.request.grace, entry.request.grace);
  EXPECT_EQ(back.request.cancel, entry.request.cancel);
  EXPECT_EQ(back.request.skip, entry.request.skip);
  EXPECT_EQ(back.moved, entry.moved);
  EXPECT_EQ(back.request.at, Instant{});
}

TEST(ConvertTest, LengthsThatWereLeftOutStayLeftOut) {
  const Request back = FromProto(ToProto(Ledger::Entry{{.grace = 0s}, false})).request;
  EXPECT_EQ(back.delay, std::nullopt);
  EXPECT_EQ(back.grace, Duration::zero());
  EXPECT_EQ(back.cancel, std::nullopt);
}

TEST(ConvertTest, WhatIsNoLengthWasLeftOut) {
  v1::Request message;
  message.set_delay_s(std::nan(""));
  message.set_grace_s(-1);
  message.set_cancel_s(std::numeric_limits<double>::infinity());
  const Request request = FromProto(message).request;
  EXPECT_EQ(request.delay, std::nullopt);
  EXPECT_EQ(request.grace, std::nullopt);
  EXPECT_EQ(request.cancel, kForever);
}

TEST(ConvertTest, EveryKindOfCauseAndEveryStageAndEventComesBack) {
  using Kind = Cause::Kind;
  for (const Kind kind : {Kind::kSignal, Kind::kAdmin, Kind::kPlugin, Kind::kProgram,
                          Kind::kProcess, Kind::kSupervisor}) {
    Ledger::Entry entry;
    entry.request.cause.kind = kind;
    EXPECT_EQ(FromProto(ToProto(entry)).request.cause.kind, kind);
  }
  for (const Stage stage : kStages) {
    for (const Event event : kEvents) {
      Receipt receipt;
      receipt.stages = {{stage, 1s, 1s, event}};
      const Receipt back = FromProto(ToProto(receipt));
      EXPECT_EQ(back.stages[0].stage, stage);
      EXPECT_EQ(back.stages[0].ended_by, event);
    }
  }
}

// Hello refuses another build, yet what cannot be read must not stop a receipt.
// Whoever let the word in.
TEST(ConvertTest, NoOrderAndNoReportIsRefusedForAWord) {
  constexpr char kComm[] = "останов\xd0", kReason[] = "x\n\x1b[31m\xff\u202e";
  const Request request{.cause = {.kind = Cause::Kind::kSignal, .who = kComm, .reason = kReason}};
  host::v1::ToHost sent, order;
  *sent.mutable_stop() = ToProto(Plan(), {{request, true}});
  ASSERT_TRUE(order.ParseFromString(sent.SerializeAsString()));
  const Cause cause = FromProto(order.stop().requests()).at(0).request.cause;
  EXPECT_EQ(cause.who, "останов\\xd0");
  EXPECT_EQ(cause.reason, "x\\n\\x1b[31m\\xff\\u202e");

  host::v1::FromHost told, report;
  told.mutable_report()->add_servers()->add_methods()->set_name("/a/\xff");
  EXPECT_TRUE(report.ParseFromString(told.SerializeAsString()));
  told.mutable_start_failed()->set_message(kReason);
  EXPECT_TRUE(report.ParseFromString(told.SerializeAsString()));
}

TEST(ConvertTest, AReceiptIsOfSafeText) {
  constexpr char kWords[] = "\u009b31m\u202e\nadmin: drain";
  v1::Receipt told;
  told.set_subject(kWords);
  told.set_failure(kWords);
  told.add_requests()->mutable_cause()->set_who(kWords);
  v1::CallRecord& call = *told.add_cancelled();
  call.set_server(kWords);
  call.set_method(kWords);
  call.set_peer(kWords);
  v1::StuckRecord& stuck = *told.add_stuck();
  stuck.set_name(kWords);
  stuck.add_stack(kWords);
  const Receipt receipt = FromProto(told);
  for (const std::string& text :
       {receipt.subject, receipt.failure, receipt.requests[0].request.cause.who,
        receipt.cancelled[0].server, receipt.cancelled[0].method, receipt.cancelled[0].peer,
        receipt.stuck[0].name, receipt.stuck[0].stack[0]}) {
    EXPECT_EQ(text, "\\u009b31m\\u202e\\nadmin: drain");
  }
}

// Of a host that says anything, of another build, and of what was never said.
TEST(ConvertTest, NumbersThatMeanNothingBecomeTheMostHarmless) {
  for (const int number : {0, 7, 99, -1, std::numeric_limits<int>::min()}) {
    v1::Receipt message;
    message.add_stages()->set_stage(static_cast<v1::Stage>(number));
    message.mutable_stages(0)->set_ended_by(static_cast<v1::Event>(number == 7 ? 8 : number));
    message.add_requests()->mutable_cause()->set_kind(static_cast<v1::Cause::Kind>(number));
    message.add_stuck()->set_what(static_cast<v1::StuckRecord::What>(number));
    v1::Receipt received;
    ASSERT_TRUE(received.ParseFromString(message.SerializeAsString()));
    const Receipt receipt = FromProto(received);
    EXPECT_EQ(receipt.stages[0].stage, Stage::kStopped) << number;
    EXPECT_EQ(receipt.stages[0].ended_by, Event::kDeadlinePassed) << number;
    EXPECT_EQ(receipt.requests[0].request.cause.kind, Cause::Kind::kProgram) << number;
    EXPECT_EQ(receipt.stuck[0].what, Stuck::What::kCall) << number;
    EXPECT_EQ(FromProto(static_cast<v1::Stage>(number)), std::nullopt) << number;
    EXPECT_EQ(FromProto(static_cast<host::v1::LogLevel>(number)), LogLevel::kInfo) << number;
    EXPECT_EQ(FromProto(static_cast<state::v1::Incarnation::Phase>(number)), Phase::kDown)
        << number;
  }
  v1::Request message;
  message.set_at("yesterday");
  EXPECT_EQ(FromProto(message).request.wall, WallTime{});
}

TEST(ConvertTest, EveryPhaseAndEveryLogLevelComesBack) {
  for (const Phase phase :
       {Phase::kStarting, Phase::kRunning, Phase::kStopping, Phase::kWaiting, Phase::kDown}) {
    EXPECT_EQ(FromProto(ToProto(phase)), phase);
  }
  for (const LogLevel level : {LogLevel::kTrace, LogLevel::kDebug, LogLevel::kInfo,
                               LogLevel::kWarning, LogLevel::kError}) {
    EXPECT_EQ(FromProto(ToProto(level)), level);
  }
}

template <class Enum>
std::string WordIn(Enum value) {
  return google::protobuf::GetEnumDescriptor<Enum>()
      ->FindValueByNumber(value)
      ->options()
      .GetExtension(v1::word);
}

// Logs and receipts have the library's names, lastcallctl those of the messages.
TEST(ConvertTest, TheWordsOfTheMessagesAreThoseOfTheLibrary) {
  for (const Stage stage : kStages) EXPECT_EQ(WordIn(ToProto(stage)), Name(stage));
  for (const Event event : kEvents) {
    EXPECT_EQ(WordIn(ToProto(event)), Name(event));
  }
  using Kind = Cause::Kind;
  for (const Kind kind : {Kind::kSignal, Kind::kAdmin, Kind::kPlugin, Kind::kProgram,
                          Kind::kProcess, Kind::kSupervisor}) {
    EXPECT_EQ(WordIn(ToProto(Cause{.kind = kind}).kind()), Name(kind));
  }
  for (const Stuck::What what : {Stuck::What::kCall, Stuck::What::kPlugin, Stuck::What::kPart}) {
    Receipt receipt;
    receipt.stuck = {{.what = what}};
    EXPECT_EQ(WordIn(ToProto(receipt).stuck(0).what()), Name(what));
  }
}

TEST(ConvertTest, APlanComesBackToTheNanosecond) {
  for (const Plan& plan : {Plan{Instant(1ns), Instant(1h + 1ns), Instant(24h * 365 + 1ns)},
                           Plan{Instant(5s), kNever, kNever}, Plan{}}) {
    const host::v1::Stop message = ToProto(plan, {FullEntry(), FullEntry()});
    EXPECT_EQ(FromProto(message), plan);
    EXPECT_EQ(FromProto(message.requests()).size(), 2u);
  }
}

TEST(ConvertTest, AnAdminSeesThePlanFromNowOnAndNotWhatIsNever) {
  const Instant now(100s);
  Ledger ledger((Budget()));
  ledger.Adopt({now - 1s, now + 2500ms, kNever}, {FullEntry()});
  const auto plan = ToProto(ledger, now);
  EXPECT_DOUBLE_EQ(plan.grace_in_s(), -1);
  EXPECT_DOUBLE_EQ(plan.cancel_in_s(), 2.5);
  EXPECT_FALSE(plan.has_end_in_s());
  ASSERT_EQ(plan.requests_size(), 1);
  EXPECT_EQ(plan.requests(0).cause().reason(), "upgrade");
}

TEST(ConvertTest, StagesAndLogLevelsAreFoundByName) {
  for (const Stage stage : kStages) EXPECT_EQ(StageNamed(Name(stage)), stage);
  EXPECT_EQ(StageNamed("Serving"), std::nullopt);
  EXPECT_EQ(StageNamed(""), std::nullopt);
  EXPECT_EQ(Name(LogLevel::kWarning), "warning");
  for (const LogLevel level : {LogLevel::kTrace, LogLevel::kDebug, LogLevel::kInfo,
                               LogLevel::kWarning, LogLevel::kError}) {
    EXPECT_EQ(LogLevelNamed(Name(level)), level);
  }
  EXPECT_EQ(LogLevelNamed("loud"), std::nullopt);
}

// Found by tests/fuzz.
TEST(ConvertTest, TimesFarAwayAreNone) {
  for (const char* text :
       {"4052-11-21T02:18:10Z", "1600-01-01T00:00:00Z", "9999-12-31T23:59:59.9Z"}) {
    v1::Request message;
    message.set_at(text);
    EXPECT_EQ(FromProto(message).request.wall, WallTime()) << text;
  }
  v1::Request message;
  message.set_at("2026-11-21T02:18:10.9e300Z");
  EXPECT_EQ(FormatWallTime(FromProto(message).request.wall), "2026-11-21T02:18:10.000Z");
}

TEST(ConvertTest, APlanIsInOrderWhateverWasSent) {
  host::v1::Stop message;
  message.set_grace_ns(5);
  message.set_cancel_ns(std::numeric_limits<int64_t>::min());
  message.set_end_ns(3);
  const Instant five{Duration(5)};
  EXPECT_EQ(FromProto(message), (Plan{five, five, five}));
  message.set_grace_ns(-1);
  EXPECT_EQ(FromProto(message).grace, Instant());
}

}  // namespace
}  // namespace lastcall
