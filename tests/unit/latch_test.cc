// Latch: set once, seen by every waiter, by whatever way it waits. Threads meet; nothing sleeps.
#include <lastcall/event/latch.h>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <barrier>
#include <csignal>
#include <fstream>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "steady_now.h"

namespace lastcall {
namespace {

using namespace std::chrono_literals;

bool Readable(int fd) {
  pollfd item{fd, POLLIN, 0};
  return poll(&item, 1, 0) == 1 && (item.revents & POLLIN) != 0;
}

// Blocks until `thread` is blocked in the kernel: so that a wait is known to wait, not only meant
// to.
void AwaitBlocked(pid_t thread) {
  const std::string path = "/proc/self/task/" + std::to_string(thread) + "/stat";
  while (true) {
    std::ifstream file(path);
    std::string line;
    std::getline(file, line);
    const size_t state = line.rfind(')') + 2;
    if (state < line.size() && line[state] == 'S') return;
    std::this_thread::yield();
  }
}

class Waiters {
 public:
  // Every one runs `wait` and counts when it returns.
  template <class Wait>
  Waiters(int count, Wait wait) : ids_(count), started_(count + 1) {
    for (int i = 0; i < count; ++i) {
      threads_.emplace_back([this, i, wait] {
        ids_[i] = static_cast<pid_t>(syscall(SYS_gettid));
        started_.arrive_and_wait();
        wait();
        ++returned_;
      });
    }
    started_.arrive_and_wait();
  }
  void AwaitAllBlocked() const {
    for (const pid_t id : ids_) AwaitBlocked(id);
  }
  int returned() const { return returned_; }
  void Join() {
    for (std::thread& thread : threads_) thread.join();
  }

 private:
  std::vector<pid_t> ids_;
  std::barrier<> started_;
  std::atomic<int> returned_{0};
  std::vector<std::thread> threads_;
};

TEST(LatchTest, IsUnsetAtFirst) {
  const Latch latch;
  EXPECT_FALSE(latch.IsSet());
  EXPECT_FALSE(Readable(latch.fd()));
}

TEST(LatchTest, FirstSetCountsAndLaterOnesDoNothing) {
  Latch latch;
  EXPECT_TRUE(latch.Set());
  EXPECT_FALSE(latch.Set());
  EXPECT_TRUE(latch.IsSet());
}

TEST(LatchTest, WaitReturnsAtOnceWhenSet) {
  Latch latch;
  latch.Set();
  latch.Wait();
  EXPECT_TRUE(latch.WaitUntil(kNever));
  EXPECT_TRUE(latch.WaitUntil(Now() - 1h)) << "what is true is not late";
}

TEST(LatchTest, WaitEndsAtItsInstant) {
  const Latch latch;
  EXPECT_FALSE(latch.WaitUntil(Instant()));
  EXPECT_FALSE(latch.WaitUntil(Now() - 1s));
  const Instant soon = Now() + 5ms;
  EXPECT_FALSE(latch.WaitUntil(soon));
  EXPECT_GE(Now(), soon);
}

TEST(LatchTest, SetWakesEveryWaiter) {
  Latch latch;
  Waiters waiters(32, [&] { latch.Wait(); });
  waiters.AwaitAllBlocked();
  EXPECT_EQ(waiters.returned(), 0);
  latch.Set();
  waiters.Join();
  EXPECT_EQ(waiters.returned(), 32);
}

TEST(LatchTest, SetWakesWaitersThatHaveAnInstant) {
  Latch latch;
  std::atomic<int> in_time{0};
  Waiters waiters(8, [&] { in_time += latch.WaitUntil(Now() + 1h) ? 1 : 0; });
  waiters.AwaitAllBlocked();
  latch.Set();
  waiters.Join();
  EXPECT_EQ(in_time, 8);
}

TEST(LatchTest, SetWakesWhoPolls) {
  Latch latch;
  const int fd = latch.fd();
  Waiters waiters(8, [fd] {
    pollfd item{fd, POLLIN, 0};
    poll(&item, 1, -1);
  });
  waiters.AwaitAllBlocked();
  latch.Set();
  waiters.Join();
}

TEST(LatchTest, OnlyOneOfManySettersIsFirst) {
  for (int round = 0; round < 100; ++round) {
    Latch latch;
    std::barrier start(4);
    std::atomic<int> first{0};
    std::vector<std::thread> setters;
    for (int i = 0; i < 4; ++i) {
      setters.emplace_back([&] {
        start.arrive_and_wait();
        first += latch.Set() ? 1 : 0;
      });
    }
    for (std::thread& setter : setters) setter.join();
    ASSERT_EQ(first, 1);
  }
}

// Not atomic on purpose: ThreadSanitizer sees it when the order is not kept.
TEST(LatchTest, WhatWasWrittenBeforeSetIsVisibleAfterEveryKindOfWait) {
  for (int round = 0; round < 100; ++round) {
    Latch latch;
    const int fd = latch.fd();
    int written = 0;
    std::barrier start(4);
    std::vector<std::thread> readers;
    readers.emplace_back([&] {
      start.arrive_and_wait();
      latch.Wait();
      EXPECT_EQ(written, 1);
    });
    readers.emplace_back([&] {
      start.arrive_and_wait();
      while (!latch.IsSet()) std::this_thread::yield();
      EXPECT_EQ(written, 1);
    });
    readers.emplace_back([&] {
      start.arrive_and_wait();
      pollfd item{fd, POLLIN, 0};
      poll(&item, 1, -1);
      EXPECT_TRUE(latch.IsSet()) << "readable before it is set";
      EXPECT_EQ(written, 1);
    });
    start.arrive_and_wait();
    written = 1;
    latch.Set();
    for (std::thread& reader : readers) reader.join();
  }
}

// The race of a first fd() with Set: whichever comes first, the descriptor is readable afterwards.
TEST(LatchTest, DescriptorMadeDuringSetIsReadable) {
  for (int round = 0; round < 300; ++round) {
    Latch latch;
    std::barrier start(2);
    int fd = -1;
    std::thread maker([&] {
      start.arrive_and_wait();
      fd = latch.fd();
    });
    start.arrive_and_wait();
    latch.Set();
    maker.join();
    ASSERT_TRUE(Readable(fd));
  }
}

TEST(LatchTest, DescriptorIsTheSameForAllAndStaysReadable) {
  Latch latch;
  const int fd = latch.fd();
  EXPECT_EQ(latch.fd(), fd);
  EXPECT_TRUE(fcntl(fd, F_GETFD) & FD_CLOEXEC);
  latch.Set();
  EXPECT_EQ(latch.fd(), fd);
  char byte = 0;
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(Readable(fd));
    EXPECT_EQ(read(fd, &byte, 1), 0) << "reading takes nothing away";
  }
}

TEST(LatchTest, DescriptorAskedForAfterSetIsReadable) {
  Latch latch;
  latch.Set();
  EXPECT_TRUE(Readable(latch.fd()));
}

TEST(LatchTest, DescriptorWorksWithEpollInBothModes) {
  for (const uint32_t mode : {uint32_t{0}, static_cast<uint32_t>(EPOLLET)}) {
    Latch latch;
    const UniqueFd epoll(epoll_create1(EPOLL_CLOEXEC));
    epoll_event interest{};
    interest.events = EPOLLIN | mode;
    ASSERT_EQ(epoll_ctl(epoll.get(), EPOLL_CTL_ADD, latch.fd(), &interest), 0);
    epoll_event seen{};
    EXPECT_EQ(epoll_wait(epoll.get(), &seen, 1, 0), 0);
    latch.Set();
    EXPECT_EQ(epoll_wait(epoll.get(), &seen, 1, -1), 1);
    EXPECT_TRUE(seen.events & EPOLLIN);
  }
}

// Nobody can set it but its owner: what a watcher writes or reads changes nothing.
TEST(LatchTest, DescriptorCannotBeWritten) {
  const Latch latch;
  const char byte = 1;
  EXPECT_EQ(send(latch.fd(), &byte, 1, MSG_NOSIGNAL), -1);
  EXPECT_FALSE(latch.IsSet());
  EXPECT_FALSE(Readable(latch.fd()));
}

TEST(LatchTest, LackOfDescriptorsPasses) {
  Latch latch;
  rlimit before{};
  getrlimit(RLIMIT_NOFILE, &before);
  const rlimit none{0, before.rlim_max};
  setrlimit(RLIMIT_NOFILE, &none);
  EXPECT_EQ(latch.fd(), -1);
  setrlimit(RLIMIT_NOFILE, &before);
  EXPECT_GE(latch.fd(), 0);
  latch.Set();
  EXPECT_TRUE(Readable(latch.fd()));
}

// As the header says: the waiter may destroy it when Set has returned, too.
TEST(LatchTest, LastOneOutMayDestroyIt) {
  for (int round = 0; round < 100; ++round) {
    auto latch = std::make_unique<Latch>();
    std::barrier out(2);
    std::thread waiter([&] {
      latch->Wait();
      out.arrive_and_wait();
      latch.reset();
    });
    latch->Set();
    out.arrive_and_wait();
    waiter.join();
    EXPECT_EQ(latch, nullptr);
  }
}

TEST(LatchTest, AForkedChildDoesNotKeepTheDescriptorFromBecomingReadable) {
  Latch latch;
  const int fd = latch.fd();
  const pid_t child = fork();
  if (child == 0) {
    for (;;) pause();
  }
  latch.Set();
  EXPECT_TRUE(Readable(fd));
  EXPECT_EQ(kill(child, SIGKILL), 0);
  EXPECT_EQ(waitpid(child, nullptr, 0), child);
}

}  // namespace
}  // namespace lastcall
