// A program without Host: signals, requests, work in flight, the receipt and the exit code.
#include "lastcall/program/program.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <barrier>
#include <csignal>
#include <stdexcept>
#include <thread>
#include <vector>

#include "await_asleep.h"
#include "lastcall/event/latch.h"
#include "lastcall/testing/recording_log.h"

namespace lastcall {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

constexpr Budget kLong{1h, 1h, 1h};
constexpr Budget kPrompt{0s, 1h, 1h};

ProgramOptions Options(Budget shutdown) {
  ProgramOptions options;
  options.shutdown = shutdown;
  options.signals = std::nullopt;
  options.exit_when_forced = false;
  options.log = [](LogLevel, std::string_view) {};
  return options;
}

std::vector<Stage> StagesOf(const Receipt& receipt) {
  std::vector<Stage> stages;
  for (const StageRecord& record : receipt.stages) stages.push_back(record.stage);
  return stages;
}

TEST(ProgramTest, WithNothingInFlightAStopIsImmediate) {
  Program program(Options(kPrompt));
  EXPECT_EQ(program.receipt(), nullptr);
  std::jthread other([&] { program.Shutdown("closing time"); });
  EXPECT_EQ(program.Run(), 0);
  const Receipt& receipt = *program.receipt();
  EXPECT_EQ(receipt.subject, "program");
  EXPECT_EQ(receipt.pid, getpid());
  ASSERT_EQ(receipt.requests.size(), 1u);
  EXPECT_EQ(receipt.requests[0].request.cause.kind, Cause::Kind::kProgram);
  EXPECT_EQ(receipt.requests[0].request.cause.reason, "closing time");
}

TEST(ProgramTest, GraceLastsWhileSomethingIsInFlight) {
  Program program(Options(kPrompt));
  program.Ready();
  Work first = program.Enter("first"), second = program.Enter("second");
  program.Shutdown("stop");
  program.termination().Wait(Stage::kGrace);
  first.End();
  EXPECT_FALSE(program.termination().WaitFor(Stage::kCancel, 10ms));
  second.End();
  EXPECT_EQ(program.Run(), 0);
  EXPECT_EQ(program.receipt()->calls_finished, 2u);
  EXPECT_THAT(StagesOf(*program.receipt()),
              testing::ElementsAre(Stage::kDelay, Stage::kGrace, Stage::kCancel));
  EXPECT_EQ(program.receipt()->stages[1].ended_by, Event::kWentIdle);
}

TEST(ProgramTest, WhatFinishedBeforeTheFirstRequestIsNotOfThisShutdown) {
  Program program(Options(kPrompt));
  program.Ready();
  program.Enter("long ago").End();
  program.Shutdown("stop");
  EXPECT_EQ(program.Run(), 0);
  EXPECT_EQ(program.receipt()->calls_finished, 0u);
}

TEST(ProgramTest, WorkInFlightWhenCancelBeginsIsCancelledAndNamed) {
  Program program(Options({0s, 0s, 1h}));
  program.Ready();
  Work work = program.Enter("/shop.Prices/Watch", "ipv4:10.0.0.7:4711");
  program.Shutdown("stop");
  program.termination().Wait(Stage::kCancel);
  EXPECT_FALSE(program.termination().WaitFor(Stage::kStopped, 10ms));
  work.End();
  EXPECT_EQ(program.Run(), kExitCallsCancelled);
  const Receipt& receipt = *program.receipt();
  EXPECT_EQ(receipt.calls_cancelled, 1u);
  EXPECT_EQ(receipt.calls_finished, 0u);
  ASSERT_EQ(receipt.cancelled.size(), 1u);
  EXPECT_EQ(receipt.cancelled[0].server, "program");
  EXPECT_EQ(receipt.cancelled[0].method, "/shop.Prices/Watch");
  EXPECT_EQ(receipt.cancelled[0].peer, "10.0.0.7:4711");
  EXPECT_TRUE(receipt.cancelled[0].told);
}

TEST(ProgramTest, PartsKeepCancelOpenButNotGrace) {
  Program program(Options(kPrompt));
  program.Ready();
  Work part = program.Open("files");
  program.Shutdown("stop");
  program.termination().Wait(Stage::kCancel);
  EXPECT_FALSE(program.termination().WaitFor(Stage::kStopped, 10ms));
  part.End();
  EXPECT_EQ(program.Run(), 0);
  EXPECT_EQ(program.receipt()->calls_cancelled, 0u);
}

TEST(ProgramTest, WhatIsHeldKeepsGraceAndCancelOpenAndIsNoCall) {
  Program program(Options(kPrompt));
  program.Ready();
  Work server = program.Hold("server");
  program.Shutdown("stop");
  program.termination().Wait(Stage::kGrace);
  EXPECT_FALSE(program.termination().WaitFor(Stage::kCancel, 10ms));
  program.Shutdown("hurry", {}, 0s);
  program.termination().Wait(Stage::kCancel);
  EXPECT_FALSE(program.termination().WaitFor(Stage::kStopped, 10ms));
  server.End();
  EXPECT_EQ(program.Run(), 0);
  EXPECT_EQ(program.receipt()->calls_cancelled, 0u);
}

TEST(ProgramTest, LengthsCanBeConfiguredUntilSomebodyAsks) {
  Program program(Options(kLong));
  program.Ready();
  program.Configure(0s, {}, {});
  const Work work = program.Enter("job");
  program.Shutdown("stop");
  program.termination().Wait(Stage::kGrace);
  const Instant cancel = program.termination().instant(Stage::kCancel);
  program.Configure(0s, 0s, 0s);
  program.Shutdown("again");
  EXPECT_FALSE(program.termination().WaitFor(Stage::kCancel, 10ms)) << "the plan stays as it is";
  EXPECT_EQ(program.termination().instant(Stage::kCancel), cancel);
  program.Shutdown("enough", {}, 0s, 1h);
  program.termination().Wait(Stage::kCancel);
}

// The loop is held up between the first request and the stage that it leads to.
TEST(ProgramTest, WhatWasAnnouncedIsCertainWhateverIsConfiguredAfterTheFirstRequest) {
  struct : ProgramObserver {
    void Requested(const Request&, const Plan&) override {
      asked.Set();
      go_on.Wait();
    }
    Latch asked, go_on;
  } observer;
  Latch serving;
  ProgramOptions options = Options(kLong);
  options.observer = &observer;
  options.log = [&](LogLevel, std::string_view text) {
    if (text == "stage serving") serving.Set();
  };
  Program program(options);
  const Termination termination = program.termination();
  program.Ready();
  serving.Wait();
  program.Shutdown("first");
  const Instant grace = termination.instant(Stage::kGrace);
  observer.asked.Wait();
  program.Configure(0s, 0s, 0s);
  program.Shutdown("second");
  EXPECT_EQ(termination.instant(Stage::kGrace), grace);
  observer.go_on.Set();
  program.Shutdown("end", 0s, 0s, 0s);
  EXPECT_EQ(program.Run(), 0);
}

TEST(ProgramTest, ARequestThatDoesNotSayWhenItWasMadeWasMadeNow) {
  Program program(Options(kLong));
  program.Ready();
  const Instant before = std::chrono::steady_clock::now();
  program.RequestStop({.cause = {.reason = "undated"}});
  program.termination().Wait(Stage::kDelay);
  EXPECT_GE(program.termination().instant(Stage::kDelay), before);
  EXPECT_FALSE(program.termination().Reached(Stage::kGrace));
  program.Shutdown("end", 0s);
  EXPECT_EQ(program.Run(), 0);
  const Request& request = program.receipt()->requests[0].request;
  EXPECT_GE(request.at, before);
  EXPECT_NE(request.wall, WallTime{});
}

// As one of a pool that is closed: the stop is asked for all the same, from a program and by
// signal.
TEST(ProgramTest, AnExecutorThatThrowsLosesNoStop) {
  for (const bool by_signal : {false, true}) {
    Latch serving;
    ProgramOptions options = Options(kPrompt);
    if (by_signal) options.signals = SignalReader::Form::kHandler;
    options.log = [&](LogLevel, std::string_view text) {
      if (text == "stage serving") serving.Set();
    };
    Program program(options);
    program.Ready();
    serving.Wait();
    const Executor closed = [](const Callback&) { throw std::runtime_error("closed"); };
    const Executor here = [](const Callback& callback) { callback(); };
    const Termination termination = program.termination();
    int told = 0;
    const auto first = termination.OnReached(Stage::kDelay, closed, [&] { ++told; });
    const auto second = termination.OnReached(Stage::kDelay, here, [&] { ++told; });
    if (by_signal) {
      kill(getpid(), SIGTERM);
    } else {
      EXPECT_NO_THROW(program.Shutdown("stop"));
    }
    EXPECT_EQ(program.Run(), 0);
    EXPECT_EQ(told, 1);
  }
}

TEST(ProgramTest, LengthsBelowZeroAreNone) {
  Program program(Options({-1s, 1h, 1h}));
  program.Ready();
  const Work work = program.Enter("job");
  program.Shutdown("stop");
  program.termination().Wait(Stage::kGrace);
  program.Shutdown("now", -1s, -1s, -1s);
  EXPECT_EQ(program.Run(), kExitForced);
}

struct Listener final : ProgramObserver {
  void Requested(const Request& request, const Plan& plan) override {
    requests.emplace_back(request.cause.reason, plan.end - request.at);
  }
  std::vector<std::string> StackOf(const Work::Info& info) override {
    return {info.name + (pthread_equal(info.thread, pthread_self()) != 0 ? " here" : " there")};
  }
  void Finished(const Receipt& receipt) override {
    finished = receipt.exit_code;
    reached = termination.Reached(Stage::kStopped);
  }

  Termination termination;
  std::vector<std::pair<std::string, Duration>> requests;
  int finished = -1;
  bool reached = true;
};

TEST(ProgramTest, AnObserverHearsOfRequestsWithTheirPlanAndOfTheEnd) {
  Listener listener;
  ProgramOptions options = Options({1h, 2h, 3h});
  options.observer = &listener;
  {
    Program program(options);
    listener.termination = program.termination();
    program.Ready();
    program.Shutdown("first");
    program.Shutdown("second", 0s);
    EXPECT_EQ(program.Run(), 0);
    program.Shutdown("late");
  }
  ASSERT_EQ(listener.requests.size(), 3u);
  EXPECT_EQ(listener.requests[0].first, "first");
  EXPECT_EQ(listener.requests[0].second, 6h);
  EXPECT_EQ(listener.requests[1].second, 5h);
  EXPECT_EQ(listener.requests[2].first, "late");
  EXPECT_EQ(listener.finished, 0);
  EXPECT_FALSE(listener.reached) << "whoever is woken by kStopped comes after";
}

TEST(ProgramTest, StacksOfWhatIsStuckComeFromTheObserver) {
  Listener listener;
  ProgramOptions options = Options({0s, 0s, 0s});
  options.observer = &listener;
  Program program(options);
  program.Ready();
  const Work work = program.Enter("job 7");
  program.Shutdown("stop");
  EXPECT_EQ(program.Run(), kExitForced);
  EXPECT_THAT(program.receipt()->stuck[0].stack, testing::ElementsAre("job 7 there"));
}

TEST(ProgramTest, AtTheLastInstantTheReceiptNamesWhatHasNotEnded) {
  Program program(Options({0s, 0s, 0s}));
  program.Ready();
  const Work work = program.Enter("job 7"), part = program.Open("pool");
  program.Shutdown("stop");
  EXPECT_EQ(program.Run(), kExitForced);
  const Receipt& receipt = *program.receipt();
  ASSERT_EQ(receipt.stuck.size(), 2u);
  EXPECT_EQ(receipt.stuck[0].what, Stuck::What::kCall);
  EXPECT_EQ(receipt.stuck[0].name, "job 7");
  EXPECT_EQ(receipt.stuck[1].what, Stuck::What::kPart);
  EXPECT_EQ(receipt.stuck[1].name, "pool");
  EXPECT_THAT(receipt.ToJson(), HasSubstr(R"("what":"part","name":"pool")"));
}

TEST(ProgramTest, WithNothingToWaitForStagesWithoutLengthForceNothing) {
  for (const Budget budget : {Budget{0s, 0s, 0s}, Budget{0s, 1h, 0s}}) {
    ProgramOptions options = Options(budget);
    options.exit_when_forced = true;
    Program program(options);
    program.Ready();
    program.Shutdown("stop");
    EXPECT_EQ(program.Run(), 0);
    EXPECT_TRUE(program.receipt()->stuck.empty());
  }
}

// As after SIGSTOP and SIGCONT: when the loop goes on, every instant has passed.
TEST(ProgramTest, WithNothingToWaitForAShutdownThatWasOversleptForcesNothing) {
  struct : ProgramObserver {
    void Requested(const Request&, const Plan& plan) override {
      while (std::chrono::steady_clock::now() <= plan.end) std::this_thread::yield();
    }
  } observer;
  ProgramOptions options = Options({1ms, 1ms, 1ms});
  options.exit_when_forced = true;
  options.observer = &observer;
  Program program(options);
  program.Ready();
  program.Shutdown("stop");
  EXPECT_EQ(program.Run(), 0);
}

TEST(ProgramDeathTest, EndsByForceWithTheReceiptInTheLog) {
  testing::GTEST_FLAG(death_test_style) = "threadsafe";
  EXPECT_EXIT(
      {
        ProgramOptions options = Options({0s, 0s, 0s});
        options.exit_when_forced = true;
        options.log = nullptr;
        Program program(options);
        program.Ready();
        const Work work = program.Enter("job 7");
        program.Shutdown("stop");
        for (;;) pause();
      },
      testing::ExitedWithCode(4), R"("exit_code":4,.*"name":"job 7")");
}

// The log is somebody's function, and who reads it may have stopped.
TEST(ProgramTest, ALogThatDoesNotReturnHoldsUpNoStage) {
  Latch called, go_on;
  ProgramOptions options = Options(kPrompt);
  options.log = [&](LogLevel, std::string_view) {
    called.Set();
    go_on.Wait();
  };
  Program program(options);
  program.Ready();
  called.Wait();
  Work work = program.Enter("job");
  program.Shutdown("stop");
  program.termination().Wait(Stage::kGrace);
  work.End();
  EXPECT_EQ(program.Run(), 0);
  go_on.Set();
}

TEST(ProgramDeathTest, EndsByForceThoughTheLogDoesNotReturn) {
  testing::GTEST_FLAG(death_test_style) = "threadsafe";
  EXPECT_EXIT(
      {
        ProgramOptions options = Options({0s, 0s, 0s});
        options.exit_when_forced = true;
        options.log = [](LogLevel, std::string_view) {
          for (;;) pause();
        };
        Program program(options);
        program.Ready();
        const Work work = program.Enter("job 7");
        program.Shutdown("stop");
        for (;;) pause();
      },
      testing::ExitedWithCode(4), "");
}

TEST(ProgramDeathTest, EndsByForceThoughTheObserverDoesNotReturn) {
  testing::GTEST_FLAG(death_test_style) = "threadsafe";
  EXPECT_EXIT(
      {
        struct : ProgramObserver {
          void Finished(const Receipt&) override {
            for (;;) pause();
          }
        } observer;
        ProgramOptions options = Options({0s, 0s, 0s});
        options.exit_when_forced = true;
        options.observer = &observer;
        Program program(options);
        program.Ready();
        const Work work = program.Enter("job 7");
        program.Shutdown("stop");
        for (;;) pause();
      },
      testing::ExitedWithCode(4), "");
}

// Each of them is a line on a stderr that nobody reads.
TEST(ProgramDeathTest, ExecutorsThatThrowHoldUpNoStage) {
  testing::GTEST_FLAG(death_test_style) = "threadsafe";
  EXPECT_EXIT(
      {
        int ends[2];
        if (pipe(ends) != 0 || fcntl(ends[1], F_SETFL, O_NONBLOCK) != 0) _exit(99);
        while (write(ends[1], "x", 1) == 1) continue;
        if (fcntl(ends[1], F_SETFL, 0) != 0 || dup2(ends[1], STDERR_FILENO) < 0) _exit(99);
        Program program(Options(kPrompt));
        program.Ready();
        std::vector<Subscription> subscriptions;
        for (int i = 0; i < 1000; ++i) {
          subscriptions.push_back(program.termination().OnReached(
              Stage::kDelay, [](const Callback&) { throw std::runtime_error("closed"); }, [] {}));
        }
        alarm(30);  // a wait for each would take longer
        program.Shutdown("stop");
        _exit(program.Run());
      },
      testing::ExitedWithCode(0), "");
}

// Nothing is in flight, but what the log uses may not go while it runs.
TEST(ProgramDeathTest, ALogThatHasNotReturnedAtThePlansEndIsLikeAnythingElse) {
  testing::GTEST_FLAG(death_test_style) = "threadsafe";
  EXPECT_EXIT(
      {
        ProgramOptions options = Options({0s, 100ms, 100ms});
        options.exit_when_forced = true;
        options.log = [](LogLevel, std::string_view) {
          for (;;) pause();
        };
        {
          Program program(options);
          program.Ready();
          program.Shutdown("stop");
          program.Run();
        }
        _exit(0);
      },
      testing::ExitedWithCode(4), "");
}

TEST(ProgramTest, AStopWhileStartingGoesStraightToCancel) {
  Program program(Options(kLong));
  program.Shutdown("changed my mind");
  program.termination().Wait();
  EXPECT_THAT(StagesOf(*program.receipt()), testing::ElementsAre(Stage::kCancel));
  EXPECT_EQ(program.Run(), 0);
}

TEST(ProgramTest, QuietEndsTheDelay) {
  ProgramOptions options = Options({1h, 1h, 1h});
  options.quiet = 0s;
  Program program(std::move(options));
  program.Ready();
  program.Shutdown("stop");
  EXPECT_EQ(program.Run(), 0);
  EXPECT_EQ(program.receipt()->stages[0].ended_by, Event::kWentQuiet);
}

TEST(ProgramTest, WhileItServesAStopIsSeenWhenTheRequestReturns) {
  Latch serving;
  ProgramOptions options = Options(kLong);
  options.log = [&](LogLevel, std::string_view text) {
    if (text == "stage serving") serving.Set();
  };
  Program program(std::move(options));
  const Termination termination = program.termination();
  program.Ready();
  serving.Wait();
  Latch told;
  const auto subscription = termination.OnReached(Stage::kDelay, [&] { told.Set(); });
  program.Shutdown("stop", 30min);
  EXPECT_TRUE(termination.Reached(Stage::kDelay));
  EXPECT_EQ(termination.instant(Stage::kGrace), termination.instant(Stage::kDelay) + 30min);
  EXPECT_EQ(termination.instant(Stage::kCancel), termination.instant(Stage::kGrace) + 1h);
  told.Wait();
}

TEST(ProgramTest, CallbacksMayAskForMoreAndSubscribeAndGo) {
  Program program(Options(kLong));
  program.Ready();
  const Termination termination = program.termination();
  std::vector<Subscription> inside;
  Subscription first = termination.OnReached(Stage::kDelay, [&] {
    first.Reset();
    inside.push_back(
        termination.OnReached(Stage::kGrace, [&] { program.Shutdown("third", 0s, 0s); }));
    program.Shutdown("second", 0s);
  });
  const Work work = program.Enter("job");
  program.Shutdown("first");
  termination.Wait(Stage::kCancel);
}

TEST(ProgramTest, LaterRequestsBringInstantsForwardAndAllAreInTheReceipt) {
  Program program(Options(kLong));
  program.Ready();
  program.Shutdown("first");
  program.termination().Wait(Stage::kDelay);
  EXPECT_FALSE(program.termination().WaitFor(Stage::kGrace, 10ms));
  program.Shutdown("second", 0s);
  EXPECT_EQ(program.Run(), 0);
  ASSERT_EQ(program.receipt()->requests.size(), 2u);
  EXPECT_TRUE(program.receipt()->requests[1].moved);
}

TEST(ProgramTest, TakesOverAPlanMadeElsewhere) {
  Program program(Options(kLong));
  program.Ready();
  const Instant now = std::chrono::steady_clock::now();
  const Ledger::Entry entry{
      {.cause = {.kind = Cause::Kind::kAdmin, .who = "root"}, .at = now, .wall = {}}, true};
  program.Adopt({now, now, now + 1h}, {entry});
  EXPECT_EQ(program.Run(), 0);
  ASSERT_EQ(program.receipt()->requests.size(), 1u);
  EXPECT_EQ(program.receipt()->requests[0].request.cause.who, "root");
}

TEST(ProgramTest, ItsEndReleasesWhoeverWaits) {
  std::optional<Program> program(std::in_place, Options(kLong));
  program->Ready();
  const Termination termination = program->termination();
  std::jthread waiter([&] { termination.Wait(); });
  const Work work = program->Enter("left behind");
  program.reset();
  waiter.join();
  EXPECT_TRUE(termination.Reached(Stage::kCancel));
}

TEST(ProgramTest, ManyThreadsMayAskAtOnce) {
  for (int round = 0; round < 100; ++round) {
    Program program(Options(kPrompt));
    program.Ready();
    std::barrier start(4);
    std::vector<std::jthread> askers;
    for (int i = 0; i < 4; ++i) {
      askers.emplace_back([&] {
        const Work work = program.Enter("asker");
        start.arrive_and_wait();
        program.Shutdown("stop");
      });
    }
    EXPECT_EQ(program.Run(), 0);
  }
}

// The bound holds though the last work ends at the very instant: either it was in time, or forced.
TEST(ProgramTest, TheRaceOfTheLastWorkWithTheLastInstantHasTwoOutcomes) {
  int in_time = 0, forced = 0;
  for (int round = 0; (in_time == 0 || forced == 0) && round < 100'000; ++round) {
    Program program(Options({0s, 0s, 5us * (round % 200)}));
    program.Ready();
    std::optional<Work> work(program.Enter("race"));
    program.Shutdown("stop");
    program.termination().Wait(Stage::kCancel);
    work.reset();
    const int code = program.Run();
    ++(code == kExitForced ? forced : in_time);
    ASSERT_TRUE(code == kExitForced || code == kExitCallsCancelled) << code;
  }
  EXPECT_GT(in_time, 0);
  EXPECT_GT(forced, 0);
}

class ProgramSignalsTest : public testing::Test {
 protected:
  static ProgramOptions WithHandlers(Budget shutdown, RecordingLog* log = nullptr) {
    ProgramOptions options = Options(shutdown);
    options.signals = SignalReader::Form::kHandler;
    if (log != nullptr) options.log = log->log();
    return options;
  }
};

TEST_F(ProgramSignalsTest, ASignalStopsItWithItsSenderInTheReceipt) {
  Program program(WithHandlers(kPrompt));
  program.Ready();
  kill(getpid(), SIGTERM);
  EXPECT_EQ(program.Run(), 0);
  const Cause& cause = program.receipt()->requests.at(0).request.cause;
  EXPECT_EQ(cause.signal, SIGTERM);
  EXPECT_EQ(cause.pid, getpid());
}

TEST_F(ProgramSignalsTest, SigintLeavesOutTheDelayAndSigquitTheGrace) {
  Program interrupted(WithHandlers(kLong));
  interrupted.Ready();
  kill(getpid(), SIGINT);
  EXPECT_EQ(interrupted.Run(), 0);
}

TEST_F(ProgramSignalsTest, SigquitCancelsAtOnce) {
  Program program(WithHandlers(kLong));
  program.Ready();
  Work work = program.Enter("job");
  kill(getpid(), SIGQUIT);
  program.termination().Wait(Stage::kCancel);
  work.End();
  EXPECT_EQ(program.Run(), kExitCallsCancelled);
}

TEST_F(ProgramSignalsTest, Sigusr1DumpsWhatIsInFlight) {
  RecordingLog log;
  {
    Program program(WithHandlers(kPrompt, &log));
    program.Ready();
    Work work = program.Enter("job 7", "tests"), part = program.Open("pool");
    kill(getpid(), SIGUSR1);
    kill(getpid(), SIGTERM);
    program.termination().Wait(Stage::kGrace);
    work.End();
    part.End();
    program.Run();
  }
  for (const char* words : {"dump: stage serving, 1 in flight, 1 parts open",
                            "dump: job 7 from tests for ", "dump: pool for "}) {
    EXPECT_TRUE(log.Said(LogLevel::kWarning, words)) << words;
  }
}

TEST_F(ProgramSignalsTest, SaysWhenSignalsAreNotBlocked) {
  RecordingLog log;
  ProgramOptions options = Options(kPrompt);
  options.signals = SignalReader::Form::kWait;
  options.log = log.log();
  { Program program(options); }
  EXPECT_TRUE(
      log.Said(LogLevel::kWarning, "call lastcall::BlockSignals() before the first thread"));
}

TEST(ProgramForkTest, AChildIsToldThatItHasNoLifecycle) {
  std::atomic<pid_t> logs{0};
  ProgramOptions options = Options(kPrompt);
  options.log = [&](LogLevel, std::string_view text) {
    if (text == "stage serving") logs = gettid();
  };
  auto program = std::make_unique<Program>(options);
  program->Ready();
  EXPECT_TRUE(program->CheckNotForked());
  // Or the child may find the allocator locked, by a thread it does not have. The loop had gone on
  // when the log was called.
  AwaitAsleep(logs);
  const pid_t child = fork();
  if (child == 0) {
    const auto asked = program->Shutdown("from the child");
    const bool told = !asked && asked.error().code == Code::kFailedPrecondition &&
                      asked.error().message.find("was forked") != std::string::npos;
    const bool refused = !program->Ready() && !program->CheckNotForked();
    { const Work nothing = program->Enter("nothing"); }
    program.reset();
    _exit(told && refused ? 0 : 1);
  }
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_FALSE(program->termination().Reached(Stage::kDelay));
}

TEST(ProgramForkTest, AChildMayEndWorkThatItHasACopyOf) {
  const auto list = std::make_shared<WorkList>();
  std::optional<Work> copied = list->Enter(Work::Kind::kInFlight, "copied", "", {});
  Work held = list->Enter(Work::Kind::kPart, "held", "", {});
  Latch locked, release;
  list->Watch([&] {
    locked.Set();
    release.Wait();
  });
  const std::jthread other([&] { held.End(); });
  locked.Wait();
  const pid_t child = fork();
  if (child == 0) {
    alarm(60);
    copied.reset();
    _exit(0);
  }
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  release.Set();
  EXPECT_EQ(status, 0);
  EXPECT_EQ(list->count(Work::Kind::kInFlight), 1u);
}

}  // namespace
}  // namespace lastcall
