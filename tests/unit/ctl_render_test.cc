// Messages as text: golden, at 100 columns.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>

#include "ctl_samples.h"
#include "progress.h"
#include "render.h"
#include "render_receipt.h"

namespace lastcall {
namespace {

using admin::v1::Status;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

const Look kPlainLook;

// Every line fits into `look`.
void ExpectFits(const std::string& text, const Look& look) {
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) EXPECT_LE(WidthOf(line), look.width) << line;
}

TEST(RenderStatusTest, ServingDaemon) {
  EXPECT_EQ(RenderStatus(ServingStatus(), kPlainLook),
            R"(lastcalld 0.1.0, pid 812: serving, up 3h12m
  configuration /etc/lastcall/lastcalld.toml, log level info

PROCESS  STAGE    PID     UP  INCARNATION  RESTARTS  NOTE
main     serving  813  3h12m            1         0
reports  serving  820  3h12m            1         0

SERVER   PROCESS  HEALTH   IN FLIGHT      CALLS  CONNECTIONS  LISTEN
public   main     serving          3  1,204,811           12  0.0.0.0:50051
                                                              unix:/run/lastcall/public.sock
reports  reports  serving          0         17            1  unix:/run/lastcall/reports.sock
)");
}

TEST(RenderStatusTest, NoProcessesAndNoServers) {
  Status status;
  status.set_stage(v1::STAGE_STARTING);
  status.set_pid(7);
  status.set_version("0.1.0");
  status.set_uptime_s(0.25);
  status.set_log_level("debug");
  EXPECT_EQ(RenderStatus(status, kPlainLook), R"(lastcalld 0.1.0, pid 7: starting, up 250ms
  no configuration file, log level debug

no processes

no servers
)");
}

TEST(RenderStatusTest, StoppingSaysWhenAndWhoAsked) {
  Status status = StoppingStatus(v1::STAGE_GRACE);
  v1::Request& late = *status.mutable_plan()->add_requests();
  late.mutable_cause()->set_kind(v1::Cause::KIND_ADMIN);
  late.mutable_cause()->set_pid(912);
  late.mutable_cause()->set_uid(1000);
  late.mutable_cause()->set_who("lastcallctl");
  late.mutable_cause()->set_reason(
      "the new kernel, which everybody has been waiting for since May");
  late.set_delay_s(0);
  late.set_grace_s(60);
  late.set_at("2026-11-21T02:18:12.500Z");
  EXPECT_EQ(RenderStatus(status, kPlainLook),
            R"(lastcalld 0.1.0, pid 812: stopping, stage grace, up 3h12m
  grace 1.3s ago, cancel in 18.8s, end in 23.8s at the latest
  requested at 2026-11-21T02:18:10.123Z by SIGTERM from kill (pid 4711, uid 0)
  requested at 2026-11-21T02:18:12.500Z by admin lastcallctl (pid 912, uid 1000): the new kernel,
    which everybody has been waiting for since May; delay 0s, grace 1m; changed nothing
  configuration /etc/lastcall/lastcalld.toml, log level info

PROCESS  STAGE    PID     UP  INCARNATION  RESTARTS  NOTE
main     serving  813  3h12m            1         0
reports  serving  820  3h12m            1         0

SERVER   PROCESS  HEALTH   IN FLIGHT      CALLS  CONNECTIONS  LISTEN
public   main     serving          3  1,204,811           12  0.0.0.0:50051
                                                              unix:/run/lastcall/public.sock
reports  reports  serving          0         17            1  unix:/run/lastcall/reports.sock
)");
}

TEST(RenderStatusTest, ProcessesInTroubleAreExplained) {
  Status status = ServingStatus();
  status.mutable_processes(0)->set_answering(false);
  admin::v1::Process& crashed = *status.mutable_processes(1);
  crashed.set_stage(v1::STAGE_WAITING);
  crashed.set_pid(0);
  crashed.set_answering(false);
  crashed.set_restarts(3);
  crashed.set_incarnation(4);
  crashed.set_last_exit_incarnation(4);
  crashed.set_last_exit("killed by SIGSEGV");
  crashed.set_next_start_in_s(1.53);
  EXPECT_EQ(RenderStatus(status, kPlainLook), R"(lastcalld 0.1.0, pid 812: serving, up 3h12m
  configuration /etc/lastcall/lastcalld.toml, log level info

PROCESS  STAGE    PID     UP  INCARNATION  RESTARTS  NOTE
main     serving  813  3h12m            1         0  does not answer: figures are the last known
reports  waiting    -      -            4         3  incarnation 4: killed by SIGSEGV; next start in
                                                     1.5s

SERVER   PROCESS  HEALTH   IN FLIGHT      CALLS  CONNECTIONS  LISTEN
public   main     serving          3  1,204,811           12  0.0.0.0:50051
                                                              unix:/run/lastcall/public.sock
reports  reports  serving          0         17            1  unix:/run/lastcall/reports.sock
)");
}

TEST(RenderStatusTest, EachLifeOfAProcessHasItsRow) {
  Status status = ServingStatus();
  admin::v1::Process& process = *status.mutable_processes(0);
  process.set_incarnation(3);
  process.set_restarts(1);
  process.set_last_exit("killed by SIGSEGV");
  process.set_last_exit_incarnation(1);
  process.mutable_successor()->set_incarnation(4);
  process.mutable_successor()->set_pid(850);
  process.mutable_successor()->set_step(admin::v1::Successor::STEP_STARTING);
  process.mutable_successor()->set_ends_in_s(29);
  admin::v1::Retired& retired = *process.add_retired();
  retired.set_incarnation(2);
  retired.set_pid(814);
  retired.set_stage(v1::STAGE_GRACE);
  retired.set_calls_in_flight(2);
  retired.set_cancel_in_s(600);
  EXPECT_THAT(RenderStatus(status, kPlainLook), HasSubstr(R"(
PROCESS    STAGE     PID     UP  INCARNATION  RESTARTS  NOTE
main       serving   813  3h12m            3         1  incarnation 1: killed by SIGSEGV
  next     starting  850      -            4         -  ready in 29s at the latest
  retired  grace     814      -            2         -  2 in flight; ends in 10m at the latest
reports    serving   820  3h12m            1         0
)"));
}

TEST(RenderStatusTest, AFrozenProcessIsNamedWithWhy) {
  Status status = ServingStatus();
  status.mutable_processes(0)->set_frozen("2 of 2 callback threads are held");
  EXPECT_THAT(RenderStatus(status, kPlainLook),
              HasSubstr("  1         0  frozen: 2 of 2 callback threads are held\n"));
}

// Two calls, the older one told to leave.
void AddOldest(Status& status) {
  for (const bool told : {true, false}) {
    admin::v1::Call& call = *status.add_oldest_calls();
    call.set_server("public");
    call.set_method(told ? "/shop.Prices/Watch" : "/shop.Prices/List");
    call.set_peer(told ? "[::1]:34886" : "");
    call.set_age_s(told ? 3725 : 1.25);
    call.set_told(told);
  }
}

TEST(RenderStatusTest, StoppingNamesWhomItWaitsFor) {
  Status status = StoppingStatus(v1::STAGE_GRACE);
  AddOldest(status);
  EXPECT_THAT(RenderStatus(status, kPlainLook), testing::EndsWith(R"(
OLDEST CALLS        PEER         SERVER     AGE  TOLD TO LEAVE
/shop.Prices/Watch  [::1]:34886  public  1h2m5s  yes
/shop.Prices/List   -            public    1.3s  no
)"));
}

TEST(RenderServersTest, DrainingAndLongNames) {
  Status status = ServingStatus();
  admin::v1::Server& server = *status.mutable_servers(0);
  server.set_name("an-excessively-long-name-for-a-server-that-somebody-generated-0001");
  server.set_process("main-process-of-the-corporation");
  server.set_health(admin::v1::Server::HEALTH_NOT_SERVING);
  server.add_listen("unix:/var/lib/corporation/department/billing/sockets/public-interface.sock");
  server.mutable_draining()->set_by("root (uid 0), pid 4711");
  server.mutable_draining()->set_since_s(250.4);
  server.mutable_draining()->set_reason("load test");
  const std::string text = RenderServers(status, kPlainLook);
  ExpectFits(text, kPlainLook);
  EXPECT_EQ(text,
            R"(SERVER   PROCESS  HEALTH    IN FLIGHT      CALLS  CONNECTIONS  LISTEN
an-excessively-long-name-for-a-server-that-somebody-generated-0001
         main-process-of-the-corporation
                  draining          3  1,204,811           12  0.0.0.0:50051
                                                               unix:/run/lastcall/public.sock
                                                               unix:/var/lib/corp…lic-interface.sock
reports  reports  serving           0         17            1  unix:/run/lastcall/reports.sock

an-excessively-long-name-for-a-server-that-somebody-generated-0001: draining for 4m10s, by root
  (uid 0), pid 4711: load test
)");
}

TEST(RenderServersTest, HealthSaysWhatMattersMost) {
  Status status = ServingStatus();
  status.mutable_servers(0)->set_accepting(false);
  status.mutable_servers(1)->set_health(admin::v1::Server::HEALTH_NOT_SERVING);
  status.mutable_processes(1)->set_answering(false);
  EXPECT_EQ(RenderServers(status, kPlainLook),
            R"(SERVER   PROCESS  HEALTH         IN FLIGHT      CALLS  CONNECTIONS  LISTEN
public   main     not accepting          3  1,204,811           12  0.0.0.0:50051
                                                                    unix:/run/lastcall/public.sock
reports  reports  not serving            0         17            1  unix:/run/lastcall/reports.sock

process reports does not answer: its figures are the last known
)");
}

TEST(RenderServersTest, OneServerWithItsMethods) {
  EXPECT_EQ(RenderServer(ServingStatus().servers(0), kPlainLook),
            R"(public: serving, 3 in flight, 1,204,811 calls so far, 12 connections
  process  main
  listen   0.0.0.0:50051
           unix:/run/lastcall/public.sock
  plugins  echo, prices

METHOD              IN FLIGHT      CALLS
/shop.Prices/Watch          3  1,204,811
)");
}

TEST(RenderServersTest, OneServerWithItsCanary) {
  Server server = ServingStatus().servers(0);
  const auto said = [&] { return RenderServer(server, kPlainLook); };
  server.mutable_canary();
  EXPECT_THAT(said(), HasSubstr("\n  canary   on its way\n"));
  server.mutable_canary()->set_latency_s(310e-6);
  EXPECT_THAT(said(), HasSubstr("\n  canary   310us\n"));
  server.mutable_canary()->set_full(true);
  EXPECT_THAT(said(), HasSubstr("\n  canary   full: every thread that it may have is at work\n"));
  server.mutable_canary()->set_overdue_s(12.3);
  EXPECT_THAT(said(), HasSubstr("\n  canary   overdue: a call through its queues is not answered "
                                "for 12.3s\n"));
}

TEST(RenderServersTest, WhoHoldsEveryThreadIsNoted) {
  Status status = ServingStatus();
  Server& server = *status.mutable_servers(0);
  server.set_held_by("1 of 1 thread is held by /s/M (on CPU (98 %) for 12s)");
  EXPECT_THAT(
      RenderStatus(status, kPlainLook),
      HasSubstr("\npublic: full: 1 of 1 thread is held by /s/M (on CPU (98 %) for 12s); new "
                "calls are refused\n"));
  EXPECT_THAT(RenderServer(server, kPlainLook),
              HasSubstr("\n  full     1 of 1 thread is held by /s/M (on CPU (98 %) for 12s)\n"));
}

TEST(RenderServersTest, ACanaryIsNotedWhereItIsNotWell) {
  Status status = ServingStatus();
  admin::v1::Canary& canary = *status.mutable_servers(0)->mutable_canary();
  canary.set_latency_s(99e-3);
  EXPECT_EQ(RenderServers(status, kPlainLook), RenderServers(ServingStatus(), kPlainLook));
  canary.set_latency_s(0.1);
  EXPECT_THAT(RenderServers(status, kPlainLook), HasSubstr("\npublic: canary 100ms\n"));
  canary.set_full(true);
  EXPECT_THAT(RenderStatus(status, kPlainLook),
              HasSubstr("\npublic: canary full: every thread that it may have is at work\n"));
  canary.set_overdue_s(0.8);
  EXPECT_THAT(RenderStatus(status, kPlainLook),
              HasSubstr("\npublic: canary overdue: a call through its queues is not answered for "
                        "800ms\n"));
}

admin::v1::Offload& AddOffload(Server& server, const std::string& plugin) {
  admin::v1::Offload& offload = *server.add_offloads();
  offload.set_plugin(plugin);
  offload.set_threads(4);
  offload.set_queue(64);
  return offload;
}

TEST(RenderServersTest, WhatPluginsOffloadIsTold) {
  Status status = ServingStatus();
  AddOffload(*status.mutable_servers(0), "echo");
  admin::v1::Offload& prices = AddOffload(*status.mutable_servers(0), "prices");
  EXPECT_EQ(RenderStatus(status, kPlainLook), RenderStatus(ServingStatus(), kPlainLook))
      << "nothing was";
  prices.set_begun(81'204);
  prices.set_busy(4);
  prices.set_abandoned(1);
  prices.set_queued(64);
  prices.set_refused(1'017);
  prices.set_late(3);
  const std::string told =
      R"(
OFFLOADED BY  SERVER    BUSY  ABANDONED    QUEUED   BEGUN  REFUSED  LATE
prices        public  4 of 4          1  64 of 64  81,204    1,017     3
)";
  EXPECT_THAT(RenderStatus(status, kPlainLook), HasSubstr(told));
  EXPECT_THAT(RenderStatus(status, {.width = 80, .folds = true}), HasSubstr(told));
  EXPECT_THAT(RenderServer(status.servers(0), kPlainLook), HasSubstr(told));
}

TEST(RenderServersTest, FitsIntoNarrowScreensWithWholeNames) {
  const Look narrow{.width = 80, .folds = true};
  const std::string server = "public-interface-of-the-whole-corporation";
  const std::string process = "main-process-of-the-corporation";
  Status status = StoppingStatus(v1::STAGE_GRACE);
  status.set_config_file("/etc/lastcall/configurations-of-all-our-daemons/lastcalld-public.toml");
  status.mutable_servers(0)->set_name(server);
  status.mutable_servers(0)->set_process(process);
  status.mutable_servers(0)->mutable_draining()->set_by("admin lastcallctl (pid 4711, uid 0)");
  status.mutable_servers(0)->mutable_draining()->set_reason("the load test of November");
  status.mutable_processes(0)->set_name(process);
  status.mutable_processes(0)->set_last_exit("killed by SIGSEGV");
  v1::Receipt receipt = ForcedReceipt();
  receipt.mutable_cancelled(0)->set_server(server);
  receipt.mutable_processes(0)->set_subject(process);
  receipt.mutable_stuck(0)->set_name(receipt.cancelled(1).method());
  const std::vector<std::pair<std::string, std::string>> shown{
      {RenderStatus(status, narrow), process},
      {RenderServers(status, narrow), server},
      {RenderServer(status.servers(0), narrow), server},
      {RenderReceipt(receipt, narrow), server},
      {RenderReceipt(receipt, narrow), process}};
  for (const auto& [text, name] : shown) {
    ExpectFits(text, narrow);
    EXPECT_THAT(text, HasSubstr(name));
  }
}

TEST(RenderPlanTest, RepliesToShutdown) {
  admin::v1::ShutdownResponse reply;
  *reply.mutable_plan() = StoppingStatus(v1::STAGE_DELAY).plan();
  reply.set_moved(true);
  EXPECT_EQ(RenderShutdownResponse(reply, true, kPlainLook), R"(would stop
  grace in 3.8s, cancel in 18.8s, end in 23.8s at the latest
  requested at 2026-11-21T02:18:10.123Z by SIGTERM from kill (pid 4711, uid 0)
)");
  reply.set_moved(false);
  reply.mutable_plan()->set_grace_in_s(0);
  reply.mutable_plan()->clear_cancel_in_s();
  reply.mutable_plan()->clear_end_in_s();
  reply.mutable_plan()->clear_requests();
  EXPECT_EQ(RenderShutdownResponse(reply, false, kPlainLook),
            R"(stopping as planned: an earlier request was at least as near
  grace now, cancel never, end never
)");
}

TEST(RenderReceiptTest, EveryCallFinished) {
  EXPECT_EQ(RenderReceipt(CleanReceipt(), kPlainLook),
            R"(lastcalld: stopped in 6.21s, every call finished

requests
  AT                        FOR            BY
  2026-11-21T02:18:10.123Z  as configured  SIGTERM from kill (pid 4711, uid 0)

stages
  STAGE   PLANNED  TOOK  ENDED BY
  delay        5s    5s  instant
  grace       20s  1.2s  idle
  cancel       5s  10ms  done

calls
  1,204 finished, 0 cancelled
)");
}

TEST(RenderReceiptTest, CancelledAndStuck) {
  const std::string text = RenderReceipt(ForcedReceipt(), kPlainLook);
  ExpectFits(text, kPlainLook);
  EXPECT_EQ(text,
            R"(lastcalld: stopped in 25s, 1002 calls cancelled, prices did not return; exit code 4

requests
  AT                        FOR                         BY
  2026-11-21T02:18:10.123Z  as configured               SIGTERM from kill (pid 4711, uid 0)
  2026-11-21T02:18:12.500Z  grace 1m (changed nothing)  admin lastcallctl (pid 912, uid 1000): new
                                                        kernel

stages
  STAGE   PLANNED  TOOK  ENDED BY
  delay        0s    0s  instant
  grace    no end   20s  request
  cancel       5s    5s  instant

calls
  120 finished, 1,002 cancelled

cancelled
  METHOD                            PEER                               SERVER     AGE  TOLD TO LEAVE
  /shop.Prices/Watch                127.0.0.1:41022                    public  1h2m5s  yes
  /corporation.dep…treamEverything  [2001:db8:85a3::…:370:7334]:50412  public   12.5s  no
  … and 1,000 more

did not return
  call /shop.Prices/Watch, for 1h2m10s
    #0  __GI___poll+0x4f
    #1  shop::Feed::Next(std::stop_token)+0x81
    #2  shop::Prices::Watch(grpc::ServerContext*, shop…nst*, grpc::ServerWriter<shop::Price>*)+0x1c2
  plugin prices: Stop, for 5s
    no stack: it has no thread of its own

processes
  PROCESS  PID  OUTCOME
  main     813  stopped in 25s, 1,002 calls cancelled
)");
}

TEST(RenderReceiptTest, WhatProcessesReportIsShownOnce) {
  v1::Receipt parent = CleanReceipt();
  *parent.add_processes() = ForcedReceipt();
  EXPECT_THAT(RenderReceipt(parent, kPlainLook), HasSubstr("127.0.0.1:41022"));
  *parent.mutable_cancelled() = parent.processes(0).cancelled();
  const std::string text = RenderReceipt(parent, kPlainLook);
  EXPECT_EQ(text.find("127.0.0.1:41022"), text.rfind("127.0.0.1:41022"));
}

TEST(RenderTest, ControlCharactersDoNotReachTheTerminal) {
  Status status = StoppingStatus(v1::STAGE_GRACE);
  v1::Cause& cause = *status.mutable_plan()->mutable_requests(0)->mutable_cause();
  cause.set_who("evil\x1b]0;x\x07");
  cause.set_reason("a\nb \xC2\x9B");
  status.mutable_servers(0)->set_listen(0, "\x1b[2Jhost");
  const std::string text = RenderStatus(status, kPlainLook);
  EXPECT_THAT(text, Not(HasSubstr("\x1b")));
  EXPECT_THAT(text, HasSubstr("evil\\x1b]0;x\\x07"));
  EXPECT_THAT(text, AllOf(HasSubstr("a\\nb"), HasSubstr("\\u009b")));
  EXPECT_THAT(text, HasSubstr("\\x1b[2Jhost"));
}

TEST(RenderTest, ColoursOnlyWhenAskedFor) {
  EXPECT_THAT(RenderStatus(ServingStatus(), kPlainLook), Not(HasSubstr("\x1b")));
  EXPECT_THAT(RenderStatus(ServingStatus(), {.colour = true}), HasSubstr("\x1b[32mserving\x1b[0m"));
}

TEST(RenderVersionTest, BothSides) {
  admin::v1::GetVersionResponse version;
  version.set_lastcall("0.1.0");
  version.set_grpc("1.51.1");
  version.set_protobuf("3.21.12");
  version.set_compiler("GCC 12.2.0");
  version.set_plugin_abi(1);
  EXPECT_EQ(RenderVersion(version, "0.2.0"), R"(lastcallctl  0.2.0
lastcalld    0.1.0
gRPC         1.51.1
protobuf     3.21.12
compiler     GCC 12.2.0
plugin ABI   1
)");
}

TEST(ProgressTest, OneLineForEachStageWithoutTerminal) {
  std::ostringstream out;
  Progress progress(out, kPlainLook, false);
  progress.Show(ServingStatus());
  progress.Show(StoppingStatus(v1::STAGE_DELAY));
  progress.Show(StoppingStatus(v1::STAGE_GRACE));
  progress.Show(StoppingStatus(v1::STAGE_GRACE));
  Status last = StoppingStatus(v1::STAGE_CANCEL);
  last.mutable_servers(0)->set_calls_in_flight(0);
  progress.Show(last);
  progress.Clear();
  EXPECT_EQ(out.str(), R"(delay: 3.8s left, 23.8s at most in all; 3 in flight (public 3)
grace: 18.8s left, 23.8s at most in all; 3 in flight (public 3)
cancel: 23.8s left; nothing in flight
)");
}

TEST(ProgressTest, RedrawsInPlaceOnTerminal) {
  std::ostringstream out;
  Progress progress(out, kPlainLook, true);
  progress.Show(StoppingStatus(v1::STAGE_GRACE));
  EXPECT_EQ(out.str(),
            "grace  18.8s left, 23.8s at most in all\x1b[K\n  public  3 in flight\x1b[K\n\x1b[J");
  out.str("");
  Status idle = StoppingStatus(v1::STAGE_GRACE);
  idle.mutable_servers(0)->set_calls_in_flight(0);
  progress.Show(idle);
  EXPECT_EQ(out.str(),
            "\x1b[2A\rgrace  18.8s left, 23.8s at most in all, nothing in flight\x1b[K\n\x1b[J");
  out.str("");
  progress.Clear();
  EXPECT_EQ(out.str(), "\x1b[1A\r\x1b[J");
}

TEST(ProgressTest, NamesTheOldestCallsOnTerminal) {
  Status status = StoppingStatus(v1::STAGE_GRACE);
  AddOldest(status);
  const auto lines = ProgressLines(status, kPlainLook);
  EXPECT_THAT(lines, ElementsAre("grace  18.8s left, 23.8s at most in all", "  public  3 in flight",
                                 "  OLDEST CALLS        PEER         SERVER     AGE  TOLD TO LEAVE",
                                 "  /shop.Prices/Watch  [::1]:34886  public  1h2m5s  yes",
                                 "  /shop.Prices/List   -            public    1.3s  no"));
  for (int i = 0; i < 20; ++i) *status.add_oldest_calls() = status.oldest_calls(0);
  EXPECT_EQ(ProgressLines(status, kPlainLook).size(), 8u);
}

// A name is shown whole; the terminal breaks its line, which must be counted as two.
TEST(ProgressTest, LinesThatTheTerminalBreaksAreTakenAwayToo) {
  std::ostringstream out;
  Progress progress(out, {.width = 60, .colour = true}, true);
  Status status = StoppingStatus(v1::STAGE_GRACE);
  status.mutable_servers(0)->set_name(std::string(70, 's'));
  progress.Show(status);
  EXPECT_THAT(out.str(), HasSubstr(std::string(70, 's')));
  out.str("");
  progress.Clear();
  EXPECT_EQ(out.str(), "\x1b[3A\r\x1b[J");
}

TEST(ProgressTest, ManyServersStayOnTheScreen) {
  Status status = StoppingStatus(v1::STAGE_GRACE);
  for (int i = 0; i < 30; ++i) *status.add_servers() = status.servers(0);
  const std::vector<std::string> lines = ProgressLines(status, kPlainLook);
  EXPECT_EQ(lines.size(), 12u);
  EXPECT_EQ(lines.back(), "  … and 21 servers more");
}

}  // namespace
}  // namespace lastcall
