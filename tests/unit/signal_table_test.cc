// What each signal does: every signal, in every stage, first and repeated.
#include <gtest/gtest.h>
#include <unistd.h>

#include <map>
#include <string>
#include <vector>

#include <lastcall/base/signal_name.h>
#include <lastcall/signals/table.h>

namespace lastcall {

void PrintTo(SignalAction action, std::ostream* out) {
  constexpr const char* kNames[] = {"shutdown", "skip", "merge", "reload", "refuse", "dump"};
  *out << kNames[static_cast<int>(action)];
}

namespace {

using namespace std::chrono_literals;
using Action = SignalAction;

constexpr Instant kFirst{1000s};

class SignalTableTest : public testing::Test {
 protected:
  Action Receive(int number, Stage stage = Stage::kServing, Duration since_first = 0s,
                 int code = SI_USER) {
    return table_.Decide({.number = number, .code = code, .at = kFirst + since_first}, stage);
  }

  SignalTable table_;
};

TEST_F(SignalTableTest, TheFirstOfEachSignalDoesWhatTheTableSaysInEveryStage) {
  constexpr Action S = Action::kShutdown, R = Action::kReload, X = Action::kRefuseReload,
                   D = Action::kDump;
  const std::map<int, std::array<Action, 6>> rows{
      //         starting serving delay grace cancel stopped
      {SIGTERM, {S, S, S, S, S, S}}, {SIGINT, {S, S, S, S, S, S}},  {SIGQUIT, {S, S, S, S, S, S}},
      {SIGHUP, {R, R, X, X, X, X}},  {SIGUSR1, {D, D, D, D, D, D}},
  };
  for (const int signal : kHandledSignals) ASSERT_TRUE(rows.contains(signal)) << signal;
  for (const auto& [signal, actions] : rows) {
    for (const Stage stage : kStages) {
      table_ = SignalTable();
      EXPECT_EQ(Receive(signal, stage), actions[static_cast<size_t>(stage)])
          << SignalName(signal) << " while " << Name(stage);
    }
  }
}

TEST_F(SignalTableTest, ARepeatSkipsMoreThanHalfASecondAfterTheFirstTookEffect) {
  for (const int first : {SIGTERM, SIGINT}) {
    for (const int second : {SIGTERM, SIGINT}) {
      for (const Stage stage : kStages) {
        const auto repeated = [&](Duration after) {
          table_ = SignalTable();
          EXPECT_EQ(Receive(first), Action::kShutdown);
          return Receive(second, stage, after);
        };
        EXPECT_EQ(repeated(0ms), Action::kMerge) << Name(stage);
        EXPECT_EQ(repeated(499ms), Action::kMerge) << Name(stage);
        EXPECT_EQ(repeated(500ms), Action::kMerge) << Name(stage);
        EXPECT_EQ(repeated(500ms + 1ns), Action::kSkip) << Name(stage);
        EXPECT_EQ(repeated(501ms), Action::kSkip) << Name(stage);
        EXPECT_EQ(repeated(1h), Action::kSkip) << Name(stage);
      }
    }
  }
}

TEST_F(SignalTableTest, EveryLaterRepeatSkipsToo) {
  Receive(SIGTERM);
  EXPECT_EQ(Receive(SIGTERM, Stage::kDelay, 600ms), Action::kSkip);
  EXPECT_EQ(Receive(SIGTERM, Stage::kGrace, 601ms), Action::kSkip);
  EXPECT_EQ(Receive(SIGINT, Stage::kCancel, 602ms), Action::kSkip);
}

// A merged repeat must not push the half second on: somebody who hammers would never get through.
TEST_F(SignalTableTest, AMergedRepeatDoesNotRestartTheHalfSecond) {
  Receive(SIGTERM);
  EXPECT_EQ(Receive(SIGTERM, Stage::kDelay, 400ms), Action::kMerge);
  EXPECT_EQ(Receive(SIGTERM, Stage::kDelay, 501ms), Action::kSkip);
}

// The table is not told of an admin's request: its stage is all that shows.
TEST_F(SignalTableTest, TheFirstSigtermAfterAnAdminsRequestIsNoRepeat) {
  EXPECT_EQ(Receive(SIGTERM, Stage::kGrace, 10s), Action::kShutdown);
  EXPECT_EQ(Receive(SIGTERM, Stage::kGrace, 11s), Action::kSkip);
}

TEST_F(SignalTableTest, OtherSignalsDoNotCountAsTheFirst) {
  Receive(SIGQUIT);
  Receive(SIGUSR1);
  Receive(SIGHUP);
  Receive(SIGHUP, Stage::kServing, 0s, SI_KERNEL);
  EXPECT_EQ(Receive(SIGTERM, Stage::kCancel, 1s), Action::kShutdown);
}

TEST_F(SignalTableTest, OtherSignalsAreNeverRepeats) {
  Receive(SIGTERM);
  EXPECT_EQ(Receive(SIGQUIT, Stage::kDelay, 1s), Action::kShutdown);
  EXPECT_EQ(Receive(SIGQUIT, Stage::kCancel, 2s), Action::kShutdown);
  EXPECT_EQ(Receive(SIGUSR1, Stage::kCancel, 3s), Action::kDump);
  EXPECT_EQ(Receive(SIGHUP, Stage::kCancel, 3s), Action::kRefuseReload);
}

TEST_F(SignalTableTest, SighupIsALostTerminalWhenTheKernelSendsItAndAReloadFromAnybodyElse) {
  for (const Stage stage : kStages) {
    EXPECT_EQ(Receive(SIGHUP, stage, 0s, SI_KERNEL), Action::kShutdown) << Name(stage);
    const Action asked = IsStopping(stage) ? Action::kRefuseReload : Action::kReload;
    for (const int code : {SI_USER, SI_QUEUE, SI_TKILL}) {
      EXPECT_EQ(Receive(SIGHUP, stage, 0s, code), asked) << Name(stage) << " code " << code;
    }
  }
}

TEST(RequestOfTest, LengthsAreThoseOfTheSignal) {
  const auto request = [](int number, Action action = Action::kShutdown) {
    return RequestOf({.number = number, .at = kFirst, .wall = WallTime(7s)}, action);
  };
  EXPECT_EQ(request(SIGTERM).delay, std::nullopt);
  EXPECT_EQ(request(SIGTERM).grace, std::nullopt);
  EXPECT_EQ(request(SIGHUP).delay, std::nullopt);
  EXPECT_EQ(request(SIGINT).delay, Duration::zero());
  EXPECT_EQ(request(SIGINT).grace, std::nullopt);
  EXPECT_EQ(request(SIGQUIT).delay, Duration::zero());
  EXPECT_EQ(request(SIGQUIT).grace, Duration::zero());
  for (const int signal : kHandledSignals) {
    EXPECT_EQ(request(signal).cancel, std::nullopt);
    EXPECT_EQ(request(signal).at, kFirst);
    EXPECT_EQ(request(signal).wall, WallTime(7s));
    EXPECT_FALSE(request(signal, Action::kShutdown).skip);
    EXPECT_FALSE(request(signal, Action::kMerge).skip);
    EXPECT_TRUE(request(signal, Action::kSkip).skip);
  }
}

TEST(RequestOfTest, TheCauseNamesTheSignalAndItsSender) {
  const ReceivedSignal from_here{
      .number = SIGTERM, .pid = getpid(), .uid = getuid(), .code = SI_USER};
  const Cause cause = RequestOf(from_here, Action::kShutdown).cause;
  EXPECT_EQ(cause.kind, Cause::Kind::kSignal);
  EXPECT_EQ(cause.signal, SIGTERM);
  EXPECT_EQ(cause.pid, getpid());
  EXPECT_EQ(cause.uid, getuid());
  EXPECT_EQ(cause.who, CommandOf(getpid()));

  const ReceivedSignal from_kernel{.number = SIGHUP, .code = SI_KERNEL};
  EXPECT_EQ(Describe(RequestOf(from_kernel, Action::kShutdown).cause), "SIGHUP from the kernel");
}

// What a container's init sees of "docker stop".
TEST(RequestOfTest, ASenderOutsideThePidNamespaceIsNotTheKernel) {
  const ReceivedSignal from_outside{.number = SIGTERM, .pid = 0, .code = SI_USER};
  EXPECT_EQ(Describe(RequestOf(from_outside, Action::kShutdown).cause),
            "SIGTERM from outside the container");
}

}  // namespace
}  // namespace lastcall
