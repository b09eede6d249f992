// What a signal does to a sleep: what the table says is tried on the kernel.
#include "lastcall/threads/system_calls.h"

#include <gmock/gmock.h>
#include <linux/futex.h>
#include <poll.h>
#include <semaphore.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <atomic>
#include <condition_variable>
#include <csignal>
#include <mutex>

#include "own_thread.h"
#include "pipe_ends.h"
#include "tcp_pair.h"

namespace lastcall {
namespace {

using namespace std::chrono_literals;

std::atomic<int> handled{0};

// Sends `thread` a signal with a handler as stacks use it, and waits for that.
void Interrupt(const OwnThread& thread) {
  struct sigaction action {};
  action.sa_handler = [](int) { ++handled; };
  action.sa_flags = SA_RESTART;
  sigaction(SIGRTMAX - 2, &action, nullptr);
  const int before = handled;
  syscall(SYS_tgkill, getpid(), thread.id(), SIGRTMAX - 2);
  while (handled == before) std::this_thread::yield();
}

class SystemCallsTest : public testing::Test {
 protected:
  void SetUp() override {
#ifdef __SANITIZE_THREAD__
    GTEST_SKIP() << "this sanitizer keeps signals back while a thread is in a system call";
#endif
  }

  // The sleep that `sleep` is in, in the call of that name, is interrupted; then `wake` ends it.
  // True: it went on as if nothing had happened, which `sleep` returns.
  template <class Sleep, class Wake>
  void ExpectGoesOn(std::string_view call, Sleep sleep, Wake wake) {
    std::atomic<bool> unharmed{false};
    OwnThread thread([&] { unharmed = sleep(); });
    thread.AwaitIn(call);
    EXPECT_TRUE(GoesOnAfterSignal(Look(thread.id()).place));
    Interrupt(thread);
    thread.AwaitIn(call);
    wake();
    thread.Join();
    EXPECT_TRUE(unharmed);
  }

  // The table says that a signal is noticed, and it is.
  template <class Sleep>
  void ExpectNoticed(std::string_view call, Sleep sleep) {
    std::atomic<bool> noticed{false};
    OwnThread thread([&] { noticed = sleep(); });
    thread.AwaitIn(call);
    EXPECT_FALSE(GoesOnAfterSignal(Look(thread.id()).place));
    Interrupt(thread);
    thread.Join();
    EXPECT_TRUE(noticed);
  }

  const PipeEnds pipe_;
  const TcpPair tcp_;
  char bytes_[8]{};
};

TEST_F(SystemCallsTest, AReadOfAPipeGoesOn) {
  ExpectGoesOn(
      "read", [&] { return pipe_.WaitForByte() == 1; }, [&] { pipe_.Release(); });
}

TEST_F(SystemCallsTest, AReadOfAnEventGoesOn) {
  const UniqueFd event(eventfd(0, EFD_CLOEXEC));
  ExpectGoesOn(
      "read", [&] { return read(event.get(), bytes_, 8) == 8; },
      [&] { eventfd_write(event.get(), 1); });
}

TEST_F(SystemCallsTest, AReceiveWithoutATimeoutGoesOn) {
  ExpectGoesOn(
      "recv", [&] { return recv(tcp_.client.get(), bytes_, 1, 0) == 1; },
      [&] { send(tcp_.server.get(), "x", 1, 0); });
}

TEST_F(SystemCallsTest, AnAcceptGoesOn) {
  ExpectGoesOn(
      "accept",
      [&] { return UniqueFd(accept4(tcp_.listener.get(), nullptr, nullptr, 0)).get() >= 0; },
      [&] {
        sockaddr_storage name{};
        socklen_t size = sizeof(name);
        getsockname(tcp_.listener.get(), reinterpret_cast<sockaddr*>(&name), &size);
        const UniqueFd other(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        connect(other.get(), reinterpret_cast<const sockaddr*>(&name), size);
      });
}

TEST_F(SystemCallsTest, AWaitForAChildGoesOn) {
  const pid_t child = fork();
  if (child == 0) {
    pipe_.WaitForByte();
    _exit(0);
  }
  ExpectGoesOn(
      "wait4", [&] { return waitpid(child, nullptr, 0) == child; }, [&] { pipe_.Release(); });
}

TEST_F(SystemCallsTest, AFutexWithoutATimeoutGoesOn) {
  std::atomic<int> word{0};
  ExpectGoesOn(
      "futex",
      [&] {
        return syscall(SYS_futex, &word, FUTEX_WAIT_BITSET_PRIVATE, 0, nullptr, nullptr,
                       FUTEX_BITSET_MATCH_ANY) == 0;
      },
      [&] { syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, 1); });
}

TEST_F(SystemCallsTest, ASemaphoreWithATimeoutNotices) {
  sem_t semaphore;
  sem_init(&semaphore, 0, 0);
  ExpectNoticed("futex", [&] {
    timespec until{};
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 60;
    return sem_timedwait(&semaphore, &until) != 0 && errno == EINTR;
  });
}

TEST_F(SystemCallsTest, AReceiveWithATimeoutNotices) {
  const timeval minute{60, 0};
  setsockopt(tcp_.client.get(), SOL_SOCKET, SO_RCVTIMEO, &minute, sizeof(minute));
  ExpectNoticed("recv",
                [&] { return recv(tcp_.client.get(), bytes_, 1, 0) < 0 && errno == EINTR; });
}

TEST_F(SystemCallsTest, AReceiveOfAllNoticesWhenItHasAPart) {
  send(tcp_.server.get(), "x", 1, 0);
  ExpectNoticed("recv", [&] { return recv(tcp_.client.get(), bytes_, 8, MSG_WAITALL) == 1; });
}

TEST_F(SystemCallsTest, AWriteOfWhichAPartIsDoneNotices) {
  const std::string much(1 << 20, 'x');
  ExpectNoticed("write", [&] {
    const ssize_t done = write(pipe_.writer.get(), much.data(), much.size());
    return done > 0 && done < static_cast<ssize_t>(much.size());
  });
}

TEST_F(SystemCallsTest, APollAndASleepNotice) {
  pollfd one{pipe_.reader.get(), POLLIN, 0};
  ExpectNoticed("poll", [&] { return poll(&one, 1, -1) < 0 && errno == EINTR; });
  ExpectNoticed("clock_nanosleep", [&] {
    const timespec minute{60, 0};
    return nanosleep(&minute, nullptr) != 0 && errno == EINTR;
  });
}

TEST_F(SystemCallsTest, OfAFileOrOfWhatIsNotKnownNothingIsPromised) {
  KernelPlace place;
  place.kind = KernelPlace::Kind::kCall;
  const UniqueFd file(open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
  place.number = SYS_read;
  place.arguments[0] = static_cast<uint64_t>(file.get());
  EXPECT_FALSE(GoesOnAfterSignal(place));
  place.arguments[0] = ~0ULL;
  EXPECT_FALSE(GoesOnAfterSignal(place));
  place.number = 123456;
  EXPECT_FALSE(GoesOnAfterSignal(place));
  EXPECT_EQ(FindSystemCall(123456), nullptr);
  place.number = SYS_futex;
  place.arguments = {0, FUTEX_LOCK_PI, 0, 0, 0, 0};
  EXPECT_FALSE(GoesOnAfterSignal(place));
  place.kind = KernelPlace::Kind::kAwake;
  EXPECT_FALSE(GoesOnAfterSignal(place));
  place.kind = KernelPlace::Kind::kNoCall;
  EXPECT_TRUE(GoesOnAfterSignal(place));
}

}  // namespace
}  // namespace lastcall
