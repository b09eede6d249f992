// Standby: a thread that is there before it is needed.
#include <gtest/gtest.h>
#include <lastcall/event/standby.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <system_error>
#include <thread>

namespace lastcall {
namespace {

TEST(StandbyTest, WorkIsDoneInItsThreadAndOnlyTheFirst) {
  std::thread::id worker;
  bool second = false;
  Standby standby;
  EXPECT_FALSE(standby.begun());
  standby.Begin([&](const std::stop_token&) { worker = std::this_thread::get_id(); });
  standby.Begin([&](const std::stop_token&) { second = true; });
  EXPECT_TRUE(standby.begun());
  standby.Join();
  EXPECT_NE(worker, std::thread::id());
  EXPECT_NE(worker, std::this_thread::get_id());
  EXPECT_FALSE(second);
}

TEST(StandbyTest, OneThatIsNeverNeededEndsWithItsOwner) {
  Standby standby;
  standby.Join();
}

TEST(StandbyTest, WhatWasBegunIsDoneThoughTheOwnerGoesRightAfter) {
  for (int i = 0; i < 200; ++i) {
    std::atomic<bool> done{false};
    {
      Standby().Begin([&](const std::stop_token&) { done = true; });
    }
    ASSERT_TRUE(done);
  }
}

TEST(StandbyTest, WorkIsAskedToEndWhenTheOwnerGoes) {
  std::atomic<bool> asked{false};
  {
    Standby standby;
    standby.Begin([&](const std::stop_token& end) {
      while (!end.stop_requested()) std::this_thread::yield();
      asked = true;
    });
  }
  EXPECT_TRUE(asked);
}

// In a child, as a user of whom no other process is counted.
TEST(StandbyTest, ItNeedsNoThreadWhenThereIsNoneLeft) {
  const pid_t child = fork();
  if (child == 0) {
    Standby standby;
    const rlimit none{0, 0};
    if (setrlimit(RLIMIT_NPROC, &none) != 0) _exit(2);
    if (geteuid() == 0 && setresuid(61234, 61234, 61234) != 0) _exit(3);
    bool refused = false;
    try {
      std::jthread another([] {});
    } catch (const std::system_error&) {
      refused = true;
    }
    bool done = false;
    standby.Begin([&](const std::stop_token&) { done = true; });
    standby.Join();
    _exit(!refused ? 4 : !done ? 5 : 0);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

}  // namespace
}  // namespace lastcall
