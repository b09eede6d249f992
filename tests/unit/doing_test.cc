// Two looks at a thread, and what follows from them.
#include "lastcall/threads/doing.h"

#include <gmock/gmock.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/syscall.h>

#include "lastcall/event/latch.h"
#include "own_thread.h"
#include "pipe_ends.h"
#include "tcp_pair.h"

namespace lastcall {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;
using testing::StartsWith;
using What = Doing::What;

constexpr Instant kThen{1h};

ThreadSample Awake(Duration at, Duration ran, Duration waited, uint64_t turns) {
  ThreadSample sample;
  sample.thread = 7;
  sample.at = kThen + at;
  sample.ran = ran;
  sample.turns = Turns{waited, turns};
  sample.state = 'R';
  sample.place.kind = KernelPlace::Kind::kAwake;
  return sample;
}

ThreadSample InRead(Duration at, Duration ran, Duration waited, uint64_t turns) {
  ThreadSample sample = Awake(at, ran, waited, turns);
  sample.state = 'S';
  sample.place = ParseKernelPlace("0 0x11 0x1 0x1 0x0 0x0 0x0 0x7ffebc3dfab8 0x7f83b5be62ad");
  sample.place.number = SYS_read;
  return sample;
}

TEST(DoingTest, AThreadThatRanMostOfTheTimeIsOnCpu) {
  const Doing doing = Judge(Awake(0s, 1s, 0s, 5), Awake(10s, 10800ms, 0s, 5));
  EXPECT_EQ(doing.what, What::kOnCpu);
  EXPECT_DOUBLE_EQ(doing.share, 0.98);
  EXPECT_EQ(Describe(doing, {}, 12s), "on CPU (98 %) for 12s");
}

TEST(DoingTest, OneThatDidNotMoveIsBlockedThroughout) {
  const Doing doing = Judge(InRead(0s, 1s, 0s, 5), InRead(10s, 1s, 0s, 5));
  EXPECT_EQ(doing.what, What::kBlocked);
  EXPECT_TRUE(doing.throughout);
  EXPECT_EQ(Describe(doing, {{17, "tcp 10.0.0.5:5432"}}, 12s),
            "blocked in read of fd 17, tcp 10.0.0.5:5432, for 12s");
  EXPECT_EQ(Describe(doing, {{17, ""}}, 12s), "blocked in read of fd 17 for 12s");
  EXPECT_EQ(Describe(doing), "blocked in read");
}

TEST(DoingTest, OneThatWokeInBetweenIsBlockedButNotThroughout) {
  const Doing doing = Judge(InRead(0s, 1s, 0s, 5), InRead(10s, 1001ms, 0s, 6));
  EXPECT_EQ(doing.what, What::kBlocked);
  EXPECT_FALSE(doing.throughout);
}

TEST(DoingTest, OneThatWaitedForAProcessorIsStarved) {
  const Doing doing = Judge(Awake(0s, 1s, 1s, 5), Awake(10s, 2s, 9s, 50));
  EXPECT_EQ(doing.what, What::kStarved);
  EXPECT_DOUBLE_EQ(doing.share, 0.8);
  EXPECT_THAT(Describe(doing), StartsWith("starved of CPU"));
}

// The kernel counts a wait when it is over.
TEST(DoingTest, OneThatWasGivenNoProcessorAtAllIsStarvedThoughNoWaitWasCounted) {
  const Doing doing = Judge(Awake(0s, 1s, 1s, 5), Awake(10s, 1s, 1s, 5));
  EXPECT_EQ(doing.what, What::kStarved);
  EXPECT_DOUBLE_EQ(doing.share, 1);
}

TEST(DoingTest, OneThatSleptBetweenTwoLooksIsBlockedNobodyKnowsWhere) {
  const Doing doing = Judge(Awake(0s, 1s, 0s, 5), Awake(10s, 2s, 0s, 50));
  EXPECT_EQ(doing.what, What::kBlocked);
  EXPECT_EQ(Describe(doing),
            "blocked, system call unknown (it was awake at both looks, and asleep in between)");
}

TEST(DoingTest, WhatWasRefusedIsSaid) {
  ThreadSample before = InRead(0s, 1s, 0s, 5), after = InRead(10s, 1s, 0s, 5);
  after.place = {};
  after.place.why = "/proc/self/task/7/syscall: Permission denied";
  after.sleeps_at = "pipe_read";
  before.place = after.place;
  EXPECT_EQ(Describe(Judge(before, after), {}, 12s),
            "blocked, system call unknown, in the kernel's pipe_read "
            "(/proc/self/task/7/syscall: Permission denied) for 12s");
}

TEST(DoingTest, WithoutTheSchedulersCountsCpuTimeStillTells) {
  ThreadSample before = Awake(0s, 1s, 0s, 0), after = Awake(10s, 10s, 0s, 0);
  before.turns.reset();
  after.turns.reset();
  EXPECT_EQ(Judge(before, after).what, What::kOnCpu);
  before = InRead(0s, 1s, 0s, 0), after = InRead(10s, 1s, 0s, 0);
  before.turns.reset();
  after.turns.reset();
  const Doing doing = Judge(before, after);
  EXPECT_EQ(doing.what, What::kBlocked);
  EXPECT_FALSE(doing.throughout);  // it may have woken for nothing
}

TEST(DoingTest, AThreadThatIsStoppedOrHeldIsPaused) {
  ThreadSample after = InRead(10s, 1s, 0s, 5);
  after.state = 'T';
  EXPECT_EQ(Judge(InRead(0s, 1s, 0s, 5), after).what, What::kPaused);
  after.state = 't';
  EXPECT_EQ(Describe(Judge(InRead(0s, 1s, 0s, 5), after)), "paused (held by a debugger)");
}

TEST(DoingTest, WhatCannotBeIsUnknown) {
  const ThreadSample now = Awake(10s, 1s, 0s, 5);
  ThreadSample other = Awake(20s, 2s, 0s, 5);
  EXPECT_EQ(Judge(now, now).what, What::kUnknown);
  EXPECT_EQ(Judge(other, now).what, What::kUnknown);
  EXPECT_THAT(Judge(now, Awake(20s, 0s, 0s, 5)).why, HasSubstr("another thread"));
  EXPECT_THAT(Judge(now, Awake(20s, 2s, 0s, 1)).why, HasSubstr("another thread"));
  other.thread = 8;
  EXPECT_EQ(Judge(now, other).what, What::kUnknown);
  other = now;
  other.gone = true;
  EXPECT_EQ(Judge(now, other).what, What::kGone);
  EXPECT_EQ(Judge({}, {}).what, What::kUnknown);
  // Counts that went backwards, or more than there was time for.
  EXPECT_EQ(Judge(Awake(0s, 1s, 5s, 5), Awake(1s, 5s, 1s, 5)).what, What::kOnCpu);
  EXPECT_LE(Judge(Awake(0s, 1s, 5s, 5), Awake(1s, 5s, 1s, 5)).share, 1);
}

// Two looks, one right after the other: enough where it sleeps.
Doing JudgeNow(pid_t thread) {
  const ThreadSample before = Look(thread);
  return Judge(before, Look(thread));
}

// Looks until it is that: on a machine that is busy, a thread gets its turn late.
template <class F>
Doing AwaitDoing(pid_t thread, What what, F meanwhile) {
  const auto until = std::chrono::steady_clock::now() + 20s;
  for (;;) {
    const ThreadSample before = Look(thread);
    meanwhile();
    const Doing doing = Judge(before, Look(thread));
    if (doing.what == what || std::chrono::steady_clock::now() > until) return doing;
  }
}

TEST(DoingTest, AThreadInALoopIsOnCpu) {
  std::atomic<bool> enough{false};
  OwnThread thread([&] {
    while (!enough) continue;
  });
  const Doing doing = AwaitDoing(thread.id(), What::kOnCpu, [&] {
    const auto ran = *CpuTimeOf(thread.id());
    while (*CpuTimeOf(thread.id()) < ran + 5ms) std::this_thread::yield();
  });
  EXPECT_EQ(doing.what, What::kOnCpu);
  enough = true;
}

TEST(DoingTest, AThreadThatNobodyGivesAProcessorIsStarved) {
  cpu_set_t allowed;
  ASSERT_EQ(sched_getaffinity(0, sizeof(allowed), &allowed), 0);
  cpu_set_t one;
  CPU_ZERO(&one);
  for (int i = 0; CPU_COUNT(&one) == 0; ++i) {
    if (CPU_ISSET(i, &allowed)) CPU_SET(i, &one);
  }
  std::atomic<bool> enough{false};
  const auto burn = [&](int policy) {
    const sched_param parameters{};
    pthread_setschedparam(pthread_self(), policy, &parameters);
    pthread_setaffinity_np(pthread_self(), sizeof(one), &one);
    while (!enough) continue;
  };
  OwnThread burner([&] { burn(SCHED_OTHER); }), starved([&] { burn(SCHED_IDLE); });
  const Doing doing = AwaitDoing(starved.id(), What::kStarved, [&] {
    const auto ran = *CpuTimeOf(burner.id());
    while (*CpuTimeOf(burner.id()) < ran + 20ms) std::this_thread::yield();
  });
  EXPECT_EQ(doing.what, What::kStarved);
  enough = true;
}

TEST(DoingTest, AReadOfAPipeIsNamed) {
  const PipeEnds pipe;
  OwnThread thread([&] { pipe.WaitForByte(); });
  thread.AwaitIn("read");
  const Doing doing = JudgeNow(thread.id());
  EXPECT_EQ(doing.what, What::kBlocked);
  EXPECT_TRUE(doing.throughout);
  EXPECT_EQ(Describe(doing, NamedDescriptorsOf(doing.place)),
            "blocked in read of fd " + std::to_string(pipe.reader.get()) + ", pipe");
  pipe.Release();
}

TEST(DoingTest, AReceiveOnAConnectionNamesItsPeer) {
  const TcpPair tcp;
  OwnThread thread([&] {
    char byte;
    recv(tcp.client.get(), &byte, 1, 0);
  });
  thread.AwaitIn("recv");
  const Doing doing = JudgeNow(thread.id());
  EXPECT_EQ(Describe(doing, NamedDescriptorsOf(doing.place), 12s),
            "blocked in recv of fd " + std::to_string(tcp.client.get()) +
                ", tcp 127.0.0.1:" + tcp.port + ", for 12s");
  send(tcp.server.get(), "x", 1, 0);
}

TEST(DoingTest, APollOfSeveralNamesThemAll) {
  const PipeEnds pipe;
  const TcpPair tcp;
  OwnThread thread([&] {
    pollfd fds[] = {{pipe.reader.get(), POLLIN, 0}, {-1, 0, 0}, {tcp.client.get(), POLLIN, 0}};
    poll(fds, 3, -1);
  });
  thread.AwaitIn("poll");
  const Doing doing = JudgeNow(thread.id());
  EXPECT_EQ(Describe(doing, NamedDescriptorsOf(doing.place)),
            "blocked in poll of fd " + std::to_string(pipe.reader.get()) + ", pipe; fd " +
                std::to_string(tcp.client.get()) + ", tcp 127.0.0.1:" + tcp.port);
  pipe.Release();
}

TEST(DoingTest, ASelectNamesWhatIsInItsSets) {
  const PipeEnds pipe;
  OwnThread thread([&] {
    fd_set set;
    FD_ZERO(&set);
    FD_SET(pipe.reader.get(), &set);
    select(pipe.reader.get() + 1, &set, nullptr, nullptr, nullptr);
  });
  thread.AwaitIn("select");
  EXPECT_EQ(Describe(JudgeNow(thread.id()), NamedDescriptorsOf(Look(thread.id()).place)),
            "blocked in select of fd " + std::to_string(pipe.reader.get()) + ", pipe");
  pipe.Release();
}

TEST(DoingTest, AnEpollNamesWhatItHolds) {
  const PipeEnds pipe;
  const UniqueFd epoll(epoll_create1(EPOLL_CLOEXEC));
  epoll_event event{};
  event.events = EPOLLIN;
  ASSERT_EQ(epoll_ctl(epoll.get(), EPOLL_CTL_ADD, pipe.reader.get(), &event), 0);
  OwnThread thread([&] {
    epoll_event got;
    epoll_wait(epoll.get(), &got, 1, -1);
  });
  thread.AwaitIn("epoll_wait");
  EXPECT_EQ(Describe(JudgeNow(thread.id()), NamedDescriptorsOf(Look(thread.id()).place)),
            "blocked in epoll_wait of fd " + std::to_string(pipe.reader.get()) + ", pipe");
  pipe.Release();
}

TEST(DoingTest, AWaitForAnotherThreadIsAFutexAndASleepIsASleep) {
  Latch release;
  OwnThread waits([&] { release.Wait(); });
  waits.AwaitIn("futex");
  EXPECT_EQ(Describe(JudgeNow(waits.id())), "blocked in futex");
  release.Set();
  std::atomic<bool> enough{false};
  OwnThread sleeps([&] {
    while (!enough) std::this_thread::sleep_for(100ms);
  });
  sleeps.AwaitIn("clock_nanosleep");
  const Doing doing = AwaitDoing(sleeps.id(), What::kBlocked, [] {});
  EXPECT_EQ(doing.what, What::kBlocked);
  enough = true;
}

}  // namespace
}  // namespace lastcall
