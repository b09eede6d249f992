// The report of a shutdown: its sentence for people, its JSON for programs.
#include <errno.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <string>

#include <lastcall/lifecycle/receipt.h>

namespace lastcall {
namespace {

using namespace std::chrono_literals;

constexpr WallTime kWall{std::chrono::milliseconds(1'795'227'490'123)};

// A shutdown in which everything occurred that a receipt can tell.
Receipt Full() {
  Receipt process{.subject = "main", .pid = 712, .incarnation = 2, .exit_code = 3, .began = kWall};
  process.took = 21s;
  process.calls_cancelled = 1;

  Receipt receipt{.subject = "lastcalld", .pid = 711, .exit_code = 4, .began = kWall};
  receipt.took = 21500ms;
  Request signal{.cause = {.kind = Cause::Kind::kSignal,
                           .signal = SIGTERM,
                           .pid = 812,
                           .uid = 1000,
                           .who = "kill"},
                 .wall = kWall};
  Request admin{.cause = {.kind = Cause::Kind::kAdmin, .reason = "no \"more\" beer"},
                .wall = kWall + 1s,
                .delay = 0s,
                .grace = 1500ms,
                .cancel = kForever};
  receipt.requests = {{signal, true}, {admin, false}, {{.wall = kWall + 2s, .skip = true}, true}};
  receipt.stages = {{Stage::kDelay, 5s, 1s, Event::kWentQuiet},
                    {Stage::kGrace, kForever, 20s, Event::kWentIdle},
                    {Stage::kCancel, 500ms, 500ms, Event::kDeadlinePassed}};
  receipt.calls_finished = 17;
  receipt.calls_cancelled = 1;
  receipt.cancelled = {{"public", "/shop.Prices/Watch", "127.0.0.1:4711", 61s, true}};
  receipt.stuck = {{Stuck::What::kCall, "/shop.Prices/Get", 2s, {"Get()+0x1 in prices.so", "main"}},
                   {Stuck::What::kPlugin, "plugin prices: Stop", 100ms, {}}};
  receipt.failure = "process main killed by SIGSEGV";
  receipt.processes = {process};
  return receipt;
}

TEST(ReceiptTest, JsonIsTheGoldenText) {
  EXPECT_EQ(
      Full().ToJson(),
      R"({"api_version":"lastcall/v1","kind":"Receipt","subject":"lastcalld","pid":711,)"
      R"("exit_code":4,"outcome":"stopped in 21.5s, process main killed by SIGSEGV, )"
      R"(1 call cancelled, /shop.Prices/Get did not return, plugin prices: Stop did not return",)"
      R"("failure":"process main killed by SIGSEGV","began":"2026-11-21T02:18:10.123Z",)"
      R"("took_s":21.5,"requests":[)"
      R"({"at":"2026-11-21T02:18:10.123Z","cause":{"kind":"signal","signal":"SIGTERM","pid":812,)"
      R"("uid":1000,"who":"kill"},"moved":true},)"
      R"({"at":"2026-11-21T02:18:11.123Z","cause":{"kind":"admin","reason":"no \"more\" beer"},)"
      R"("delay_s":0,"grace_s":1.5,"cancel_s":null,"moved":false},)"
      R"({"at":"2026-11-21T02:18:12.123Z","cause":{"kind":"program"},"skip":true,"moved":true}],)"
      R"("stages":[{"stage":"delay","planned_s":5,"took_s":1,"ended_by":"quiet"},)"
      R"({"stage":"grace","planned_s":null,"took_s":20,"ended_by":"idle"},)"
      R"({"stage":"cancel","planned_s":0.5,"took_s":0.5,"ended_by":"instant"}],)"
      R"("calls":{"finished":17,"cancelled":1},)"
      R"("cancelled":[{"server":"public","method":"/shop.Prices/Watch",)"
      R"("peer":"127.0.0.1:4711","age_s":61,"told":true}],)"
      R"("stuck":[{"what":"call","name":"/shop.Prices/Get","age_s":2,)"
      R"("stack":["Get()+0x1 in prices.so","main"]},)"
      R"({"what":"plugin","name":"plugin prices: Stop","age_s":0.1,"stack":[]}],)"
      R"("processes":[{"subject":"main","pid":712,"incarnation":2,"exit_code":3,)"
      R"("outcome":"stopped in 21s, 1 call cancelled","began":"2026-11-21T02:18:10.123Z",)"
      R"("took_s":21,"requests":[],"stages":[],"calls":{"finished":0,"cancelled":1},)"
      R"("cancelled":[],"stuck":[]}]})");
}

TEST(ReceiptTest, JsonOfAnEmptyReceiptHasEveryListAndNoProcesses) {
  EXPECT_EQ(Receipt{}.ToJson(),
            R"({"api_version":"lastcall/v1","kind":"Receipt","subject":"","pid":0,"exit_code":0,)"
            R"("outcome":"stopped in 0s, every call finished","began":"1970-01-01T00:00:00.000Z",)"
            R"("took_s":0,"requests":[],"stages":[],"calls":{"finished":0,"cancelled":0},)"
            R"("cancelled":[],"stuck":[]})");
}

// What people and peers wrote comes from outside: it must not break the text for programs.
TEST(ReceiptTest, JsonIsValidWhateverWasWritten) {
  std::string every_byte;
  for (int byte = 0; byte < 256; ++byte) every_byte += static_cast<char>(byte);
  Receipt receipt = Full();
  receipt.requests[0].request.cause.reason = every_byte;
  receipt.cancelled[0].peer = "unix:/tmp/\xF0\x9F\x8D\xBA\"\\";
  receipt.stuck[0].stack = {every_byte, "operator\"\" _s(\n)"};
  receipt.stages[0].took = kForever;
  FILE* parser = popen(
      "python3 -c 'import json, sys; "
      "r = json.loads(sys.stdin.buffer.read().decode(\"utf-8\", \"strict\")); "
      "sys.exit(r[\"cancelled\"][0][\"peer\"] != \"unix:/tmp/\\U0001F37A\\\"\\\\\")'",
      "w");
  ASSERT_NE(parser, nullptr);
  const std::string text = receipt.ToJson();
  EXPECT_EQ(std::fwrite(text.data(), 1, text.size(), parser), text.size());
  EXPECT_EQ(pclose(parser), 0) << text;
}

TEST(ReceiptTest, OutcomeSaysWhatBecameOfTheCalls) {
  Receipt receipt;
  receipt.took = 1200ms;
  EXPECT_EQ(receipt.Outcome(), "stopped in 1.2s, every call finished");
  receipt.calls_cancelled = 1;
  EXPECT_EQ(receipt.Outcome(), "stopped in 1.2s, 1 call cancelled");
  receipt.calls_cancelled = 2;
  EXPECT_EQ(receipt.Outcome(), "stopped in 1.2s, 2 calls cancelled");
}

TEST(ReceiptTest, OutcomeNamesWhatDidNotReturn) {
  Receipt receipt{.exit_code = kExitForced};
  receipt.stuck = {{Stuck::What::kPlugin, "plugin prices: Stop", 1s, {}}};
  EXPECT_EQ(receipt.Outcome(),
            "stopped in 0s, no call cancelled, plugin prices: Stop did not return");
}

// A process that crashed took its count with it; "no call cancelled" would be made up.
TEST(ReceiptTest, OutcomeClaimsNothingOfCallsThatNobodyCounted) {
  Receipt receipt{.failure = "process main killed by SIGSEGV"};
  for (const int code : {kExitCallsCancelled, kExitForced}) {
    receipt.exit_code = code;
    EXPECT_EQ(receipt.Outcome(), "stopped in 0s, process main killed by SIGSEGV");
  }
  receipt.exit_code = 70;
  receipt.failure = "process main: exit code 70";
  EXPECT_EQ(receipt.Outcome(), "stopped in 0s, process main: exit code 70, no call cancelled");
}

TEST(CauseTest, DescriptionsReadAsSentences) {
  using Kind = Cause::Kind;
  const struct {
    Cause cause;
    const char* text;
  } rows[] = {
      {{.kind = Kind::kSignal, .signal = SIGTERM, .pid = 812, .uid = 0, .who = "kill"},
       "SIGTERM from kill (pid 812, uid 0)"},
      {{.kind = Kind::kSignal, .signal = SIGTERM, .pid = 812, .uid = 5},
       "SIGTERM from pid 812, uid 5"},
      {{.kind = Kind::kSignal, .signal = SIGHUP, .who = "the kernel"}, "SIGHUP from the kernel"},
      {{.kind = Kind::kSignal, .signal = SIGINT}, "SIGINT"},
      {{.kind = Kind::kSignal, .signal = 99}, "signal 99"},
      {{.kind = Kind::kPlugin, .who = "prices", .reason = "out of licences"},
       "plugin prices: out of licences"},
      {{.kind = Kind::kAdmin, .pid = 7, .uid = 1, .who = "lastcallctl", .reason = "upgrade"},
       "admin lastcallctl (pid 7, uid 1): upgrade"},
      {{.kind = Kind::kProgram}, "program"},
      {{.kind = Kind::kProcess, .who = "main", .reason = "cannot start"},
       "process main: cannot start"},
      {{.kind = Kind::kSupervisor, .who = "lastcalld", .reason = "it is gone"},
       "supervisor lastcalld: it is gone"},
  };
  for (const auto& row : rows) EXPECT_EQ(Describe(row.cause), row.text);
}

TEST(CauseTest, CommandOfALivingProcessIsItsName) {
  EXPECT_EQ(CommandOf(getpid()), program_invocation_short_name);
  EXPECT_EQ(CommandOf(0), "");
}

}  // namespace
}  // namespace lastcall
