// Real signals to this very process, through both forms of the reader.
#include "lastcall/signals/signals.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <map>
#include <set>
#include <thread>

#include "await_asleep.h"
#include "lastcall/base/unique_fd.h"
#include "lastcall/event/inbox.h"
#include "lastcall/event/latch.h"

namespace lastcall {
namespace {

using namespace std::chrono_literals;
using Form = SignalReader::Form;

sigset_t Handled() {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : kHandledSignals) sigaddset(&set, signal);
  return set;
}

bool IsPending(int signal) {
  sigset_t pending;
  sigpending(&pending);
  return sigismember(&pending, signal) == 1;
}

// Each test begins with nothing blocked, nothing pending and a handler for every handled signal that
// does nothing, and leaves the process as it found it.
class SignalsTest : public testing::Test {
 protected:
  void SetUp() override {
    const sigset_t handled = Handled();
    pthread_sigmask(SIG_UNBLOCK, &handled, &mask_before_);
    for (const int signal : kHandledSignals) Put(signal, [](int) {});
    Put(SIGPIPE, SIG_IGN);
  }

  void TearDown() override {
    reader_.reset();
    // Ignoring a signal drops what is pending of it.
    for (const int signal : kHandledSignals) Put(signal, SIG_IGN);
    for (const auto& [signal, action] : before_) sigaction(signal, &action, nullptr);
    pthread_sigmask(SIG_SETMASK, &mask_before_, nullptr);
  }

  void Read(Form form) {
    if (form == Form::kWait) BlockSignals();
    reader_ = std::make_unique<SignalReader>(
        clock_, [this](const ReceivedSignal& signal) { received_.Post(signal); }, form);
  }
  ReceivedSignal Next() { return *received_.TakeUntil(kNever); }

  // Ends the reader while its thread is in `receive`, which `release` lets go on.
  void EndWhileBusy(Latch& release) {
    std::atomic<pid_t> ender{0};
    std::jthread thread([&] {
      ender = gettid();
      reader_.reset();
    });
    AwaitAsleep(ender);
    release.Set();
  }

  SteadyClock clock_;
  Inbox<ReceivedSignal> received_;
  std::unique_ptr<SignalReader> reader_;

  void Put(int signal, void (*handler)(int), int flags = SA_RESTART) {
    struct sigaction action {
    }, before{};
    action.sa_handler = handler;
    action.sa_flags = flags;
    sigaction(signal, &action, &before);
    before_.try_emplace(signal, before);
  }

 private:
  sigset_t mask_before_{};
  std::map<int, struct sigaction> before_;
};

class SignalReaderTest : public SignalsTest, public testing::WithParamInterface<Form> {};

INSTANTIATE_TEST_SUITE_P(Forms, SignalReaderTest, testing::Values(Form::kWait, Form::kHandler),
                         [](const auto& form) -> std::string {
                           return form.param == Form::kWait ? "Wait" : "Handler";
                         });

TEST_P(SignalReaderTest, EveryHandledSignalIsSeenWithItsSender) {
  Read(GetParam());
  for (const int signal : kHandledSignals) {
    const Instant before = clock_.Now();
    kill(getpid(), signal);
    const ReceivedSignal received = Next();
    EXPECT_EQ(received.number, signal);
    EXPECT_EQ(received.pid, getpid());
    EXPECT_EQ(received.uid, getuid());
    EXPECT_EQ(received.code, SI_USER);
    EXPECT_GE(received.at, before);
    EXPECT_LE(received.at, clock_.Now());
    EXPECT_NE(received.wall, WallTime{});
  }
}

TEST_P(SignalReaderTest, TheSenderIsTheProcessThatSentIt) {
  Read(GetParam());
  const pid_t child = fork();
  if (child == 0) {
    sigqueue(getppid(), SIGTERM, {});
    _exit(0);
  }
  const ReceivedSignal received = Next();
  EXPECT_EQ(received.pid, child);
  EXPECT_EQ(received.code, SI_QUEUE);
  waitpid(child, nullptr, 0);
}

TEST_P(SignalReaderTest, AThousandSignalsForABusyReceiverHoldNobodyUp) {
  if (GetParam() == Form::kWait) BlockSignals();
  Latch release;
  std::atomic<int> count{0};
  reader_ = std::make_unique<SignalReader>(
      clock_,
      [&](const ReceivedSignal& signal) {
        release.Wait();
        ++count;
        received_.Post(signal);
      },
      GetParam());
  for (int i = 0; i < 1000; ++i) kill(getpid(), kHandledSignals[i % kHandledSignals.size()]);
  release.Set();
  // The kernel merges what is pending of one number; the handlers' pipe holds each.
  std::set<int> seen;
  while (seen.size() < kHandledSignals.size()) seen.insert(Next().number);
  if (GetParam() == Form::kHandler) {
    while (count < 1000) Next();
  }
  reader_.reset();
}

TEST_P(SignalReaderTest, EndsWhileSignalsArrive) {
  if (GetParam() == Form::kWait) BlockSignals();
  std::atomic<bool> enough{false};
  std::atomic<int> sent{0};
  std::jthread sender([&] {
    for (size_t i = 0; !enough; ++i, ++sent) {
      kill(getpid(), kHandledSignals[i % kHandledSignals.size()]);
    }
  });
  for (int round = 0; round < 200; ++round) {
    const int before = sent;
    Read(GetParam());
    while (sent < before + 3) std::this_thread::yield();
    reader_.reset();
    // A handler that was late would write into whatever has its descriptor's number now.
    int ends[2];
    ASSERT_EQ(pipe2(ends, O_NONBLOCK | O_CLOEXEC), 0);
    const UniqueFd read_end(ends[0]), write_end(ends[1]);
    while (sent < before + 6) std::this_thread::yield();
    char byte;
    EXPECT_EQ(read(read_end.get(), &byte, 1), -1);
  }
  enough = true;
}

TEST_P(SignalReaderTest, AReaderCanFollowAnother) {
  for (int i = 0; i < 3; ++i) {
    Read(GetParam());
    kill(getpid(), SIGINT);
    EXPECT_EQ(Next().number, SIGINT);
    reader_.reset();
  }
}

TEST_F(SignalsTest, BlockSignalsBlocksEachHandledSignalAndIgnoresSigpipe) {
  signal(SIGPIPE, SIG_DFL);
  EXPECT_FALSE(SignalsAreBlocked());
  BlockSignals();
  EXPECT_TRUE(SignalsAreBlocked());
  struct sigaction action {};
  sigaction(SIGPIPE, nullptr, &action);
  EXPECT_EQ(action.sa_handler, SIG_IGN);
  for (const int signal : kHandledSignals) {
    sigset_t one;
    sigemptyset(&one);
    sigaddset(&one, signal);
    pthread_sigmask(SIG_UNBLOCK, &one, nullptr);
    EXPECT_FALSE(SignalsAreBlocked()) << signal;
    pthread_sigmask(SIG_BLOCK, &one, nullptr);
  }
}

TEST_F(SignalsTest, WithoutAWaitingReaderASignalStaysPending) {
  Read(Form::kWait);
  kill(getpid(), SIGTERM);
  EXPECT_EQ(Next().number, SIGTERM);
  reader_.reset();
  kill(getpid(), SIGTERM);
  EXPECT_TRUE(IsPending(SIGTERM));
  // The next reader finds it.
  Read(Form::kWait);
  EXPECT_EQ(Next().number, SIGTERM);
}

// The kernel keeps one SIGUSR1 for a thread at most: the reader's own notice may be dropped.
TEST_F(SignalsTest, AWaitingReaderEndsThoughANoticeIsPendingAlready) {
  BlockSignals();
  Latch release;
  std::atomic<pid_t> reader_thread{0};
  reader_ = std::make_unique<SignalReader>(clock_, [&](const ReceivedSignal& signal) {
    reader_thread = gettid();
    received_.Post(signal);
    release.Wait();
  });
  kill(getpid(), SIGTERM);
  Next();
  syscall(SYS_tgkill, getpid(), reader_thread.load(), SIGUSR1);
  EndWhileBusy(release);
}

TEST_F(SignalsTest, AHandlerReaderCallsTheHandlersThatWereThereAndPutsThemBack) {
  static std::atomic<int> hits;
  hits = 0;
  struct sigaction own {};
  own.sa_handler = [](int) { ++hits; };
  own.sa_flags = SA_NODEFER;
  sigaddset(&own.sa_mask, SIGWINCH);
  for (const int signal : kHandledSignals) sigaction(signal, &own, nullptr);
  Read(Form::kHandler);
  kill(getpid(), SIGTERM);
  EXPECT_EQ(Next().number, SIGTERM);
  EXPECT_EQ(hits, 1);
  reader_.reset();
  for (const int signal : kHandledSignals) {
    struct sigaction now {};
    sigaction(signal, nullptr, &now);
    EXPECT_EQ(now.sa_handler, own.sa_handler) << signal;
    EXPECT_EQ(now.sa_flags & SA_NODEFER, SA_NODEFER) << signal;
    EXPECT_EQ(sigismember(&now.sa_mask, SIGWINCH), 1) << signal;
  }
  raise(SIGTERM);
  EXPECT_EQ(hits, 2);
}

TEST_F(SignalsTest, AHandlerReaderPassesTheSenderOn) {
  static std::atomic<pid_t> sender;
  sender = 0;
  struct sigaction own {};
  own.sa_sigaction = [](int, siginfo_t* info, void*) { sender = info->si_pid; };
  own.sa_flags = SA_SIGINFO;
  sigaction(SIGTERM, &own, nullptr);
  Read(Form::kHandler);
  kill(getpid(), SIGTERM);
  Next();
  EXPECT_EQ(sender, getpid());
}

TEST_F(SignalsTest, AHandlerBreaksSystemCallsWhereItDidBefore) {
#ifdef __SANITIZE_THREAD__
  GTEST_SKIP() << "ThreadSanitizer holds handlers back until the system call has returned";
#endif
  for (const bool breaks : {true, false}) {
    Put(
        SIGTERM, [](int) {}, breaks ? 0 : SA_RESTART);
    Read(Form::kHandler);
    int ends[2];
    ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
    const UniqueFd read_end(ends[0]), write_end(ends[1]);
    std::atomic<pid_t> sleeper{0};
    std::jthread thread([&] {
      sleeper = gettid();
      char byte;
      const ssize_t size = read(read_end.get(), &byte, 1);
      EXPECT_EQ(size, breaks ? -1 : 1);
    });
    AwaitAsleep(sleeper);
    syscall(SYS_tgkill, getpid(), sleeper.load(), SIGTERM);
    EXPECT_EQ(Next().number, SIGTERM);
    EXPECT_EQ(write(write_end.get(), "x", 1), 1);
    thread.join();
    reader_.reset();
  }
}

TEST_F(SignalsTest, WhatIsIgnoredLikeNohupDoesStaysIgnored) {
  for (const int signal : {SIGHUP, SIGINT, SIGQUIT, SIGTERM}) Put(signal, SIG_IGN);
  Read(Form::kHandler);
  for (const int signal : {SIGHUP, SIGINT, SIGQUIT, SIGTERM}) kill(getpid(), signal);
  EXPECT_EQ(Next().number, SIGTERM);
  SignalReader::Reclaim();
  for (const int signal : {SIGHUP, SIGINT, SIGQUIT, SIGTERM}) kill(getpid(), signal);
  EXPECT_EQ(Next().number, SIGTERM);
}

TEST_F(SignalsTest, AReaderWithoutDescriptorsSaysSoAndLeavesTheHandlers) {
  rlimit before{};
  getrlimit(RLIMIT_NOFILE, &before);
  const rlimit none{0, before.rlim_max};
  setrlimit(RLIMIT_NOFILE, &none);
  Read(Form::kHandler);
  setrlimit(RLIMIT_NOFILE, &before);
  EXPECT_FALSE(reader_->reads());
  kill(getpid(), SIGTERM);  // meets the fixture's handler
  reader_.reset();
  Read(Form::kHandler);
  EXPECT_TRUE(reader_->reads());
}

TEST_F(SignalsTest, AHandlerForADumpReturnsBeforeTheReaderHears) {
  struct Shared {
    Latch in_handler, reader_asleep;
    std::atomic<pid_t> reader{0};
    std::atomic<int> heard{0}, heard_in_handler{0};
  };
  static Shared* shared;
  Shared mine;
  shared = &mine;
  struct sigaction own {};
  own.sa_handler = [](int) {
    shared->in_handler.Set();
    shared->reader_asleep.Wait();  // it has heard what there is to hear
    shared->heard_in_handler = shared->heard.load();
  };
  sigaction(SIGUSR1, &own, nullptr);
  reader_ = std::make_unique<SignalReader>(
      clock_,
      [this](const ReceivedSignal& signal) {
        shared->reader = gettid();
        ++shared->heard;
        received_.Post(signal);
      },
      Form::kHandler);
  kill(getpid(), SIGTERM);
  Next();
  const std::jthread watcher([] {
    shared->in_handler.Wait();
    AwaitAsleep(shared->reader);
    shared->reader_asleep.Set();
  });
  pthread_kill(pthread_self(), SIGUSR1);
  EXPECT_EQ(Next().number, SIGUSR1);
  EXPECT_EQ(mine.heard_in_handler, 1);
}

TEST_F(SignalsTest, AHandlerThatWasInstalledSinceStays) {
  Read(Form::kHandler);
  struct sigaction later {};
  later.sa_handler = [](int) {};
  sigaction(SIGTERM, &later, nullptr);
  reader_.reset();
  struct sigaction now {};
  sigaction(SIGTERM, nullptr, &now);
  EXPECT_EQ(now.sa_handler, later.sa_handler);
}

TEST_F(SignalsTest, AHandlerThatWasInstalledSinceIsCalledOnceTheReaderIsPutBack) {
  static std::atomic<int> hits;
  hits = 0;
  SignalReader::Reclaim();  // nobody reads
  Read(Form::kHandler);
  struct sigaction later {};
  later.sa_handler = [](int) { ++hits; };
  sigaction(SIGTERM, &later, nullptr);
  kill(getpid(), SIGTERM);
  EXPECT_EQ(hits, 1);
  for (int i = 0; i < 2; ++i) SignalReader::Reclaim();  // the second finds its own
  kill(getpid(), SIGTERM);
  EXPECT_EQ(Next().number, SIGTERM);
  EXPECT_EQ(hits, 2);
  reader_.reset();
  struct sigaction now {};
  sigaction(SIGTERM, nullptr, &now);
  EXPECT_EQ(now.sa_handler, later.sa_handler);
}

// What a library does that has the signals for a while: it puts back what it has found.
TEST_F(SignalsTest, AHandlerThatWasTakenAwayAgainIsNotCalledAnyMore) {
  static std::atomic<int> hits;
  hits = 0;
  Read(Form::kHandler);
  struct sigaction later {
  }, found{};
  later.sa_handler = [](int) { ++hits; };
  sigaction(SIGTERM, &later, &found);
  EXPECT_EQ(SignalReader::Reclaim(), std::vector{SIGTERM});
  sigaction(SIGTERM, &found, nullptr);
  EXPECT_EQ(SignalReader::Reclaim(), std::vector<int>{});
  kill(getpid(), SIGTERM);
  EXPECT_EQ(Next().number, SIGTERM);
  EXPECT_EQ(hits, 0);
}

TEST_F(SignalsTest, AHandlerThatPassesItsSignalsOnDoesNotMeetItself) {
  static std::atomic<int> hits;
  static struct sigaction found;
  hits = 0;
  Read(Form::kHandler);
  struct sigaction later {};
  later.sa_flags = SA_SIGINFO;
  later.sa_sigaction = [](int number, siginfo_t* info, void* context) {
    if (++hits < 100) found.sa_sigaction(number, info, context);
  };
  sigaction(SIGTERM, &later, &found);
  SignalReader::Reclaim();
  kill(getpid(), SIGTERM);
  EXPECT_EQ(Next().number, SIGTERM);
  EXPECT_EQ(Next().number, SIGTERM);  // the reader's own was called by it
  EXPECT_EQ(hits, 1);
}

TEST_F(SignalsTest, HandlersWithoutNumberAreCalledAndHeard) {
  Read(Form::kHandler);
  static std::atomic<int> hits;
  for (int each = 1; each <= SIGRTMAX; ++each) {
    if (each == SIGKILL || each == SIGSTOP || each == SIGTERM || each == 32 || each == 33) continue;
    struct sigaction later {};
    later.sa_handler = [](int) { ++hits; };
    sigaddset(&later.sa_mask, each);  // one that was not there before
    hits = 0;
    sigaction(SIGTERM, &later, nullptr);
    EXPECT_EQ(SignalReader::Reclaim(), std::vector{SIGTERM});
    kill(getpid(), SIGTERM);
    EXPECT_EQ(Next().number, SIGTERM);
    EXPECT_EQ(hits, 1);
  }
}

TEST_F(SignalsTest, WhatTheProgramWaitedForItselfCanBeHeardToo) {
  siginfo_t info{};
  info.si_signo = SIGTERM;
  info.si_code = SI_USER;
  info.si_pid = 7;
  SignalReader::Hear(info);  // nobody reads
  Read(Form::kHandler);
  info.si_signo = SIGALRM;  // none of the handled ones
  SignalReader::Hear(info);
  info.si_signo = SIGTERM;
  SignalReader::Hear(info);
  const ReceivedSignal received = Next();
  EXPECT_EQ(received.number, SIGTERM);
  EXPECT_EQ(received.pid, 7);
  EXPECT_TRUE(received.handled);
}

TEST_F(SignalsTest, ItCanBePutBackWhileSignalsArrive) {
  Read(Form::kHandler);
  std::atomic<bool> enough{false};
  std::jthread sender([&] {
    while (!enough) kill(getpid(), SIGTERM);
  });
  struct sigaction later {};
  later.sa_handler = [](int) {};
  for (int round = 0; round < 500; ++round) {
    sigaction(SIGTERM, &later, nullptr);
    SignalReader::Reclaim();
    EXPECT_EQ(Next().number, SIGTERM);
  }
  enough = true;
}

// The pipe is shared with a forked child: what is sent to the child must not end its parent.
TEST_F(SignalsTest, AForkedChildDiesByItsOwnSignalsAndTellsNobody) {
#ifdef __SANITIZE_THREAD__
  GTEST_SKIP() << "ThreadSanitizer runs no handlers in a child that was forked beside threads";
#endif
  signal(SIGTERM, SIG_DFL);
  Read(Form::kHandler);
  const pid_t child = fork();
  if (child == 0) {
    for (;;) pause();
  }
  kill(child, SIGTERM);
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFSIGNALED(status));
  EXPECT_EQ(WTERMSIG(status), SIGTERM);
  kill(getpid(), SIGUSR1);
  EXPECT_EQ(Next().number, SIGUSR1) << "the child's signal came here";
}

TEST_F(SignalsTest, AForkedChildMayHaveAReaderOfItsOwn) {
#ifdef __SANITIZE_THREAD__
  GTEST_SKIP() << "ThreadSanitizer has no threads in a child that was forked beside threads";
#endif
  Read(Form::kHandler);
  const pid_t child = fork();
  if (child == 0) {
    Inbox<int> received;
    const SignalReader own(
        clock_, [&](const ReceivedSignal& signal) { received.Post(signal.number); },
        Form::kHandler);
    kill(getpid(), SIGTERM);
    _exit(received.TakeUntil(kNever) == SIGTERM ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

TEST_F(SignalsTest, AForkedChildMayDestroyItsCopyOfEitherForm) {
  for (const Form form : {Form::kHandler, Form::kWait}) {  // which blocks them
    Read(form);
    const pid_t child = fork();
    if (child == 0) {
      reader_.reset();
      _exit(0);
    }
    int status = -1;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
    kill(getpid(), SIGTERM);
    EXPECT_EQ(Next().number, SIGTERM) << "the parent's reader goes on";
    reader_.reset();
  }
}

TEST_F(SignalsTest, AForkedChildThatLivesDoesNotHoldTheEnd) {
  Read(Form::kHandler);
  const pid_t child = fork();
  if (child == 0) {
    for (;;) pause();
  }
  kill(getpid(), SIGTERM);
  EXPECT_EQ(Next().number, SIGTERM);
  reader_.reset();
  EXPECT_EQ(kill(child, SIGKILL), 0);
  int status = 0;
  EXPECT_EQ(waitpid(child, &status, 0), child);
}

// More notes than the pipe holds; the one that says "end" has no room there either.
TEST_F(SignalsTest, AHandlerReaderEndsWithItsPipeFull) {
  Latch release;
  reader_ = std::make_unique<SignalReader>(
      clock_,
      [&](const ReceivedSignal& signal) {
        release.Wait();
        received_.Post(signal);
      },
      Form::kHandler);
  errno = 0;
  for (int i = 0; i < 10'000; ++i) raise(SIGUSR1);
  EXPECT_EQ(errno, 0);  // as the interrupted code must find it
  EndWhileBusy(release);
  EXPECT_EQ(Next().number, SIGUSR1);
}

}  // namespace
}  // namespace lastcall
