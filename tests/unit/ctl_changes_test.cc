// What lastcallctl watch says of the difference between two snapshots.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "changes.h"
#include "ctl_samples.h"

namespace lastcall {
namespace {

using admin::v1::Status;
using testing::ElementsAre;
using testing::IsEmpty;

TEST(ChangesTest, NothingNew) { EXPECT_THAT(Changes(ServingStatus(), ServingStatus()), IsEmpty()); }

TEST(ChangesTest, FiguresCountOnlyWhileStopping) {
  Status more = ServingStatus();
  more.mutable_servers(0)->set_calls_in_flight(4);
  more.mutable_servers(0)->set_calls_total(1'300'000);
  EXPECT_THAT(Changes(ServingStatus(), more), IsEmpty());
  Status fewer = StoppingStatus(v1::STAGE_GRACE);
  fewer.mutable_servers(0)->set_calls_in_flight(1);
  EXPECT_THAT(Changes(StoppingStatus(v1::STAGE_GRACE), fewer),
              ElementsAre("server public: 1 in flight"));
}

TEST(ChangesTest, ShutdownIsAskedAndTheStageMoves) {
  EXPECT_THAT(
      Changes(ServingStatus(), StoppingStatus(v1::STAGE_DELAY)),
      ElementsAre("shutdown requested by SIGTERM from kill (pid 4711, uid 0): grace in 3.8s, "
                  "cancel in 18.8s, end in 23.8s at the latest",
                  "serving → delay"));
}

TEST(ChangesTest, ProcessCrashesAndComesBack) {
  Status crashed = ServingStatus();
  admin::v1::Process& process = *crashed.mutable_processes(1);
  process.set_stage(v1::STAGE_WAITING);
  process.set_pid(0);
  process.set_restarts(1);
  process.set_last_exit("killed by SIGSEGV");
  process.set_next_start_in_s(0.1);
  EXPECT_THAT(Changes(ServingStatus(), crashed),
              ElementsAre("process reports: serving → waiting",
                          "process reports: killed by SIGSEGV, restarts 1, next start in 100ms"));
  Status back = crashed;
  back.mutable_processes(1)->set_stage(v1::STAGE_SERVING);
  back.mutable_processes(1)->set_pid(900);
  back.mutable_processes(1)->set_incarnation(2);
  back.mutable_processes(1)->clear_next_start_in_s();
  EXPECT_THAT(Changes(crashed, back), ElementsAre("process reports: incarnation 2, pid 900",
                                                  "process reports: waiting → serving"));
}

// All that is seen of a replacement, one after another.
TEST(ChangesTest, ProcessIsReplacedAndTheOldOneEnds) {
  const Status before = ServingStatus();
  Status starting = before;
  admin::v1::Successor& next = *starting.mutable_processes(0)->mutable_successor();
  next.set_incarnation(2);
  next.set_step(admin::v1::Successor::STEP_STARTING);
  next.set_by("admin lastcallctl (pid 7, uid 0): load test");
  EXPECT_THAT(
      Changes(before, starting),
      ElementsAre("process main: incarnation 2 is started, requested by admin lastcallctl (pid "
                  "7, uid 0): load test"));
  Status settling = starting;
  settling.mutable_processes(0)->mutable_successor()->set_step(admin::v1::Successor::STEP_SETTLING);
  EXPECT_THAT(Changes(starting, settling),
              ElementsAre("process main: incarnation 2 has taken over, and settles"));
  Status replaced = before;
  admin::v1::Process& process = *replaced.mutable_processes(0);
  process.set_incarnation(2);
  process.set_pid(900);
  admin::v1::Retired& retired = *process.add_retired();
  retired.set_incarnation(1);
  retired.set_calls_in_flight(1);
  retired.set_cancel_in_s(600);
  retired.set_replaced_by("SIGHUP from kill (pid 8, uid 0)");
  EXPECT_THAT(
      Changes(settling, replaced),
      ElementsAre("process main: incarnation 2, pid 900",
                  "process main: incarnation 1 retires, requested by SIGHUP from kill (pid 8, "
                  "uid 0): 1 in flight; ends in 10m at the latest"));
  Status ended = replaced;
  ended.mutable_processes(0)->clear_retired();
  EXPECT_THAT(Changes(replaced, ended), ElementsAre("process main: incarnation 1 has ended"));
  admin::v1::Ended& last = *ended.mutable_processes(0)->mutable_last_retired();
  last.set_incarnation(1);
  last.set_outcome("stopped in 1s, 1 call cancelled");
  EXPECT_THAT(
      Changes(replaced, ended),
      ElementsAre("process main: incarnation 1 has ended: stopped in 1s, 1 call cancelled"));
}

TEST(ChangesTest, SuccessorFails) {
  Status starting = ServingStatus();
  starting.mutable_processes(0)->mutable_successor()->set_incarnation(2);
  EXPECT_THAT(Changes(starting, ServingStatus()),
              ElementsAre("process main: incarnation 2 has failed"));
}

TEST(ChangesTest, ReloadSaysWhatItHasChanged) {
  Status after = ServingStatus();
  admin::v1::Reload& reload = *after.mutable_last_reload();
  reload.set_at("2026-11-21T02:18:10.123Z");
  reload.set_by("SIGHUP from kill (pid 8, uid 0)");
  EXPECT_THAT(
      Changes(ServingStatus(), after),
      ElementsAre("reload, requested by SIGHUP from kill (pid 8, uid 0): nothing has changed"));
  admin::v1::ConfigChange& change = *reload.add_changes();
  change.set_sign(admin::v1::ConfigChange::SIGN_CHANGED);
  change.set_what("shutdown");
  admin::v1::ValueChange& value = *change.add_values();
  value.set_setting("shutdown.grace");
  value.set_before("\"20s\"");
  value.set_after("\"5s\"");
  EXPECT_THAT(Changes(ServingStatus(), after),
              ElementsAre("reload, requested by SIGHUP from kill (pid 8, uid 0):", "  ~ shutdown",
                          R"(      shutdown.grace: "20s" → "5s")", "  shutdown: changed"));
  EXPECT_THAT(Changes(after, after), IsEmpty());
  reload.set_refusal("lastcalld.toml:3: unknown key");
  EXPECT_THAT(
      Changes(ServingStatus(), after),
      ElementsAre("reload, requested by SIGHUP from kill (pid 8, uid 0): refused, nothing has "
                  "changed: lastcalld.toml:3: unknown key"));
}

TEST(ChangesTest, ProcessFallsSilent) {
  Status silent = ServingStatus();
  silent.mutable_processes(0)->set_answering(false);
  EXPECT_THAT(Changes(ServingStatus(), silent), ElementsAre("process main: does not answer"));
  EXPECT_THAT(Changes(silent, ServingStatus()), ElementsAre("process main: answers again"));
}

TEST(ChangesTest, ServersComeGoDrainAndMove) {
  Status after = ServingStatus();
  admin::v1::Server& server = *after.mutable_servers(0);
  server.set_health(admin::v1::Server::HEALTH_NOT_SERVING);
  server.set_accepting(false);
  server.mutable_draining()->set_by("root (uid 0), pid 4711");
  server.set_listen(0, "0.0.0.0:50052");
  after.mutable_servers(1)->set_name("bills");
  after.set_log_level("debug");
  EXPECT_THAT(
      Changes(ServingStatus(), after),
      ElementsAre("log level info → debug", "server reports: gone",
                  "server public: SERVING → NOT_SERVING", "server public: no longer accepting",
                  "server public: draining for 0s, by root (uid 0), pid 4711",
                  "server public: listens on 0.0.0.0:50052, unix:/run/lastcall/public.sock",
                  "server bills: new"));
  EXPECT_THAT(Changes(after, ServingStatus()),
              testing::Contains("server public: no longer draining"));
}

TEST(ChangesTest, SummaryCounts) {
  EXPECT_EQ(Summary(ServingStatus()), "serving; 2 processes, 2 servers, 3 calls in flight");
}

}  // namespace
}  // namespace lastcall
