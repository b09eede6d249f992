// The stacks of other threads: of every kind that could be disturbed by it, or disturb it.
#include "lastcall/threads/thread_stack.h"

#include <dlfcn.h>
#include <gmock/gmock.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <sys/mman.h>
#include <sys/uio.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <functional>
#include <utility>
#include <vector>

#include "lastcall/event/latch.h"
#include "lastcall/threads/doing.h"
#include "lastcall/threads/stack_walk.h"
#include "lastcall/threads/symbols.h"
#include "own_thread.h"
#include "pipe_ends.h"
#include "tcp_pair.h"

extern "C" {
// libgcc's: frame rules for code that a program makes itself.
void __register_frame(void* entries);
void __deregister_frame(void* entries);

#if defined(__x86_64__)
// Code as nobody's compiler writes it. Each sets *there and spins until *enough.
void SpinsWithoutRules(std::atomic<bool>* there, std::atomic<bool>* enough);
void SpinsWithItsFrameOverwritten(std::atomic<bool>* there, std::atomic<bool>* enough);
void SpinsWithItsFrameBelow(std::atomic<bool>* there, std::atomic<bool>* enough);
void SpinsAtItsEnd(std::atomic<bool>* there, std::atomic<bool>* enough);
asm(R"(
.text
.type SpinsWithoutRules, @function
SpinsWithoutRules:
  push %rbp
  movabs $0xdeadbeefdeadbeef, %rbp
  movb $1, (%rdi)
1: cmpb $0, (%rsi)
  je 1b
  pop %rbp
  ret
.size SpinsWithoutRules, . - SpinsWithoutRules

.type SpinsWithItsFrameOverwritten, @function
SpinsWithItsFrameOverwritten:
  .cfi_startproc
  push %rbp
  .cfi_def_cfa_offset 16
  .cfi_offset 6, -16
  mov %rsp, %rbp
  .cfi_def_cfa_register 6
  movabs $0xdeadbeefdeadbeef, %rbp
  movb $1, (%rdi)
1: cmpb $0, (%rsi)
  je 1b
  pop %rbp
  .cfi_def_cfa 7, 8
  ret
  .cfi_endproc
.size SpinsWithItsFrameOverwritten, . - SpinsWithItsFrameOverwritten

.type SpinsWithItsFrameBelow, @function
SpinsWithItsFrameBelow:
  .cfi_startproc
  push %rbp
  .cfi_def_cfa_offset 16
  .cfi_offset 6, -16
  mov %rsp, %rbp
  .cfi_def_cfa_register 6
  sub $4096, %rbp
  movb $1, (%rdi)
1: cmpb $0, (%rsi)
  je 1b
  pop %rbp
  .cfi_def_cfa 7, 8
  ret
  .cfi_endproc
.size SpinsWithItsFrameBelow, . - SpinsWithItsFrameBelow

.type SpinsAtItsEnd, @function
SpinsAtItsEnd:
  .cfi_startproc
  push %rbp
  .cfi_def_cfa_offset 16
  .cfi_offset 6, -16
  pop %rbp
  .cfi_def_cfa 7, 8
  movb $1, (%rdi)
1: cmpb $0, (%rsi)
  je 1b
  ret
  .cfi_endproc
.size SpinsAtItsEnd, . - SpinsAtItsEnd
)");
#endif
}

namespace lastcall {

// What happens just before the next page of memory is read; then nothing again.
std::function<void()> before_next_page;

}  // namespace lastcall

// In the place of the C library's, for this program.
extern "C" ssize_t process_vm_readv(pid_t process, const iovec* local, unsigned long locals,
                                    const iovec* remote, unsigned long remotes,
                                    unsigned long flags) {
  static const auto real =
      reinterpret_cast<decltype(&process_vm_readv)>(dlsym(RTLD_NEXT, "process_vm_readv"));
  if (local->iov_len == 4096 && lastcall::before_next_page) {
    std::exchange(lastcall::before_next_page, nullptr)();
  }
  return real(process, local, locals, remote, remotes, flags);
}

namespace lastcall {

// Not in the anonymous namespace, not inlined, and with something to do afterwards: so that they
// have frames with names.
[[gnu::noinline]] void WorksInAFunctionWithAName(std::atomic<bool>& there,
                                                 const std::atomic<bool>& enough) {
  there = true;
  while (!enough) asm volatile("");
}

[[gnu::noinline]] int PollsInAFunctionWithAName(int fd) {
  pollfd one{fd, POLLIN, 0};
  const int result = poll(&one, 1, -1);
  asm volatile("");
  return result;
}

[[gnu::noinline]] void ThrowsInAFunctionWithAName(std::atomic<uint64_t>& thrown) {
  try {
    throw 1;
  } catch (int) {
    ++thrown;
  }
}

namespace {

using namespace std::chrono_literals;
using testing::Contains;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

constexpr auto kPatience = 20s;

std::vector<std::string> NamesOf(const TakenStack& stack) {
  SymbolNames names;
  return names.Of(stack.frames);
}

// Where the machine is busy a thread may not answer in time: asks again, for some seconds.
TakenStack AwaitStack(pid_t thread) {
  const auto until = std::chrono::steady_clock::now() + kPatience;
  TakenStack stack = TakeStack(thread);
  while (stack.frames.empty() && std::chrono::steady_clock::now() < until) {
    stack = TakeStack(thread);
  }
  return stack;
}

void BlockAllSignals() {
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, nullptr);
}

class ThreadStackTest : public testing::Test {
 protected:
  // Sleeps by `sleep` in the call of that name, which returns whether nobody disturbed it; its stack
  // is there, and names `function`; then `wake` ends the sleep.
  template <class Sleep, class Wake>
  void ExpectNothingNoticed(std::string_view call, const char* function, Sleep sleep, Wake wake) {
    std::atomic<bool> unharmed{false};
    OwnThread thread([&] { unharmed = sleep(); });
    thread.AwaitIn(call);
    for (int i = 0; i < 20; ++i) {
      const TakenStack stack = AwaitStack(thread.id());
      EXPECT_THAT(NamesOf(stack), Contains(HasSubstr(function))) << stack.why_not;
    }
    thread.AwaitIn(call);
    wake();
    thread.Join();
    EXPECT_TRUE(unharmed);
  }

  void AwaitThere() const {
    while (!there_) std::this_thread::yield();
  }

  std::atomic<bool> there_{false}, enough_{false};
  const PipeEnds pipe_;
  const TcpPair tcp_;
};

TEST_F(ThreadStackTest, AThreadThatWorksIsInTheFunctionThatKeepsItBusyAndItsStackIsWhole) {
  OwnThread thread([&] { WorksInAFunctionWithAName(there_, enough_); });
  AwaitThere();
  const TakenStack stack = AwaitStack(thread.id());
#ifdef __SANITIZE_THREAD__  // hands a signal on when the thread is somewhere else already
  EXPECT_FALSE(stack.frames.empty());
#else
  EXPECT_THAT(NamesOf(stack), Contains(HasSubstr("WorksInAFunctionWithAName")));
  EXPECT_TRUE(stack.by_signal);
  EXPECT_EQ(stack.why_not, "");
#endif
  enough_ = true;
}

TEST_F(ThreadStackTest, APollIsNotDisturbed) {
  ExpectNothingNoticed(
      "poll", "PollsInAFunctionWithAName",
      [&] { return PollsInAFunctionWithAName(pipe_.reader.get()) == 1; }, [&] { pipe_.Release(); });
}

TEST_F(ThreadStackTest, ASleepIsNotDisturbed) {
  ExpectNothingNoticed(
      "clock_nanosleep", "nanosleep",
      [&] {
        const timespec moment{0, 200'000'000};
        bool undisturbed = true;
        while (!enough_) undisturbed &= nanosleep(&moment, nullptr) == 0;
        return undisturbed;
      },
      [&] { enough_ = true; });
}

TEST_F(ThreadStackTest, AReceiveWithATimeoutIsNotDisturbed) {
  const timeval minute{60, 0};
  setsockopt(tcp_.client.get(), SOL_SOCKET, SO_RCVTIMEO, &minute, sizeof(minute));
  ExpectNothingNoticed(
      "recv", "recv",
      [&] {
        char byte;
        return recv(tcp_.client.get(), &byte, 1, 0) == 1;
      },
      [&] { send(tcp_.server.get(), "x", 1, 0); });
}

TEST_F(ThreadStackTest, ASemaphoreWithATimeoutIsNotDisturbed) {
  sem_t semaphore;
  sem_init(&semaphore, 0, 0);
  ExpectNothingNoticed(
      "futex", "ASemaphoreWithATimeout",
      [&] {
        timespec until{};
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec += 60;
        return sem_timedwait(&semaphore, &until) == 0;
      },
      [&] { sem_post(&semaphore); });
}

TEST_F(ThreadStackTest, AWriteOfWhichAPartIsDoneIsNotDisturbed) {
  const std::string much(1 << 20, 'x');
  ExpectNothingNoticed(
      "write", "write",
      [&] {
        return write(pipe_.writer.get(), much.data(), much.size()) ==
               static_cast<ssize_t>(much.size());
      },
      [&] {
        std::string read_back(much.size(), ' ');
        for (size_t got = 0; got < much.size();) {
          got += static_cast<size_t>(read(pipe_.reader.get(), &read_back[got], much.size() - got));
        }
      });
}

TEST_F(ThreadStackTest, AThreadThatBlocksTheSignalIsAskedOnlyWhereItSleeps) {
  OwnThread works([&] {
    BlockAllSignals();
    WorksInAFunctionWithAName(there_, enough_);
  });
  AwaitThere();
  const TakenStack stack = TakeStack(works.id());
  EXPECT_THAT(stack.frames, IsEmpty());
  EXPECT_THAT(stack.why_not, HasSubstr("blocks the signal"));
  enough_ = true;
  OwnThread sleeps([&] {
    BlockAllSignals();
    PollsInAFunctionWithAName(pipe_.reader.get());
  });
  sleeps.AwaitIn("poll");
  EXPECT_THAT(NamesOf(AwaitStack(sleeps.id())), Contains(HasSubstr("PollsInAFunctionWithAName")));
  pipe_.Release();
}

TEST_F(ThreadStackTest, AThreadThatMovesMeanwhileIsReadAnew) {
  const PipeEnds second;
  OwnThread thread([&] {
    PollsInAFunctionWithAName(pipe_.reader.get());
    second.WaitForByte();
  });
  thread.AwaitIn("poll");
  before_next_page = [&] {
    pipe_.Release();
    thread.AwaitIn("read");
  };
  const auto frames = NamesOf(TakeStack(thread.id()));
  EXPECT_FALSE(before_next_page);
  EXPECT_THAT(frames, Contains(HasSubstr("WaitForByte")));
  EXPECT_THAT(frames, Not(Contains(testing::StartsWith("poll+"))));
  second.Release();
}

TEST_F(ThreadStackTest, AThreadThatIsGoneHasNoneAndSaysSo) {
  OwnThread thread([] {});
  thread.Join();
  while (!Look(thread.id()).gone) std::this_thread::yield();
  EXPECT_THAT(TakeStack(thread.id()).frames, IsEmpty());
  EXPECT_THAT(TakeStack(thread.id()).why_not, HasSubstr("ended"));
  EXPECT_THAT(TakeStack(0).frames, IsEmpty());
  EXPECT_NE(TakeStack(0).why_not, "");
}

TEST_F(ThreadStackTest, AThreadMayAskForItsOwn) {
  EXPECT_THAT(NamesOf(TakeStack(gettid())), Contains(HasSubstr("AThreadMayAskForItsOwn")));
}

// A handler that is asked again before it is over must not pile up there.
TEST_F(ThreadStackTest, AThreadWithASmallStackForItsSignalsMayBeAskedAtOnceAgain) {
  OwnThread thread([&] {
    std::vector<char> stack(16 * 1024);
    stack_t own{}, before{};
    own.ss_sp = stack.data();
    own.ss_size = stack.size();
    sigaltstack(&own, &before);
    WorksInAFunctionWithAName(there_, enough_);
    sigaltstack(&before, nullptr);
  });
  AwaitThere();
  for (int i = 0; i < 300; ++i) TakeStack(thread.id());
  EXPECT_FALSE(AwaitStack(thread.id()).frames.empty());
  enough_ = true;
}

#ifndef __SANITIZE_THREAD__  // hands signals on late, and none in a handler
TEST_F(ThreadStackTest, WhatIsDeeperThanTheCopyIsLeftOut) {
  OwnThread thread([&] {
    auto* const much = static_cast<volatile char*>(__builtin_alloca(1 << 20));
    much[0] = 1;
    WorksInAFunctionWithAName(there_, enough_);
    much[1] = 1;
  });
  AwaitThere();
  const TakenStack stack = AwaitStack(thread.id());
  EXPECT_THAT(NamesOf(stack), Contains(HasSubstr("WorksInAFunctionWithAName")));
  EXPECT_THAT(stack.why_not, HasSubstr("beyond the part"));
  enough_ = true;
}

TEST_F(ThreadStackTest, AHandlerAndWhatItInterruptedAreBothThere) {
  static std::atomic<bool>*there = nullptr, *enough = nullptr;
  there = &there_;
  enough = &enough_;
  struct sigaction action {};
  action.sa_handler = [](int) { WorksInAFunctionWithAName(*there, *enough); };
  sigaction(SIGRTMAX - 4, &action, nullptr);
  OwnThread thread([&] {
    raise(SIGRTMAX - 4);
    asm volatile("");
  });
  AwaitThere();
  const TakenStack stack = AwaitStack(thread.id());
  const auto frames = NamesOf(stack);
  EXPECT_THAT(frames, Contains(HasSubstr("WorksInAFunctionWithAName")));
  EXPECT_THAT(frames, Contains(HasSubstr("OwnThread"))) << stack.why_not << stack.by_signal;
  enough_ = true;
}
#endif

#if defined(__x86_64__) && !defined(__SANITIZE_THREAD__)
class HandWrittenCodeTest : public ThreadStackTest {
 protected:
  using Spins = void (*)(std::atomic<bool>*, std::atomic<bool>*);

  TakenStack StackIn(Spins spins) {
    OwnThread thread([&] { spins(&there_, &enough_); });
    AwaitThere();
    TakenStack stack = AwaitStack(thread.id());
    enough_ = true;
    return stack;
  }
};

TEST_F(HandWrittenCodeTest, CodeWithoutRulesIsNamedAndNothingBeyondIsBelieved) {
  const TakenStack stack = StackIn(&SpinsWithoutRules);
  EXPECT_THAT(stack.frames, testing::SizeIs(1));
  EXPECT_THAT(NamesOf(stack), Contains(HasSubstr("SpinsWithoutRules")));
  EXPECT_THAT(stack.why_not, HasSubstr("without frame rules"));
}

TEST_F(HandWrittenCodeTest, AnOverwrittenFrameIsNamedAndNothingBeyondIsBelieved) {
  const TakenStack stack = StackIn(&SpinsWithItsFrameOverwritten);
  EXPECT_THAT(stack.frames, testing::SizeIs(1));
  EXPECT_THAT(NamesOf(stack), Contains(HasSubstr("SpinsWithItsFrameOverwritten")));
  EXPECT_NE(stack.why_not, "");
}

TEST_F(HandWrittenCodeTest, AFrameBelowItsCalleesIsNotBelieved) {
  const TakenStack stack = StackIn(&SpinsWithItsFrameBelow);
  EXPECT_THAT(stack.frames, testing::SizeIs(1));
  EXPECT_THAT(stack.why_not, HasSubstr("astray"));
}

// What it has popped is below its stack, and without optimisation GCC says that it is there still.
TEST_F(HandWrittenCodeTest, AFunctionAtItsEndHasItsCallersToo) {
  const TakenStack stack = StackIn(&SpinsAtItsEnd);
  EXPECT_THAT(NamesOf(stack), Contains(HasSubstr("SpinsAtItsEnd")));
  EXPECT_EQ(stack.why_not, "");
}

// Rules for a function of a page that the program has made itself, as a JIT registers them.
class MadeCode {
 public:
  MadeCode()
      : code_(static_cast<uint8_t*>(mmap(nullptr, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
                                         MAP_PRIVATE | MAP_ANONYMOUS, -1, 0))) {
    // It sets *rdi, and spins until *rsi.
    constexpr std::array<uint8_t, 9> kSpins = {0xC6, 0x07, 0x01, 0x80, 0x3E,
                                               0x00, 0x74, 0xFB, 0xC3};
    std::memcpy(code_, kSpins.data(), kSpins.size());
    constexpr std::array<uint8_t, 28> kCommon = {
        20, 0, 0, 0, 0, 0, 0, 0, 1, 'z', 'R', 0, 1, 0x78, 16, 1, 0x00, 0x0C, 7, 8, 0x90, 1, 0, 0};
    std::memcpy(rules_.data(), kCommon.data(), 24);
    constexpr std::array<uint8_t, 8> kOwn = {24, 0, 0, 0, 28, 0, 0, 0};
    std::memcpy(&rules_[24], kOwn.data(), kOwn.size());
    const auto begin = reinterpret_cast<uint64_t>(code_), size = uint64_t{4096};
    std::memcpy(&rules_[32], &begin, 8);
    std::memcpy(&rules_[40], &size, 8);
    __register_frame(rules_.data());
  }
  ~MadeCode() {
    __deregister_frame(rules_.data());
    munmap(code_, 4096);
  }
  MadeCode(const MadeCode&) = delete;
  MadeCode& operator=(const MadeCode&) = delete;

  void Run(std::atomic<bool>& there, std::atomic<bool>& enough) const {
    reinterpret_cast<void (*)(std::atomic<bool>*, std::atomic<bool>*)>(code_)(&there, &enough);
  }

 private:
  uint8_t* const code_;
  alignas(8) std::array<uint8_t, 64> rules_{};  // zeros at the end: the end
};

TEST_F(HandWrittenCodeTest, CodeThatAProgramHasMadeItselfIsInNoFile) {
  const MadeCode made;
  OwnThread thread([&] { made.Run(there_, enough_); });
  AwaitThere();
  const TakenStack stack = AwaitStack(thread.id());
  EXPECT_THAT(stack.frames, testing::SizeIs(1));
  EXPECT_THAT(stack.why_not, HasSubstr("in no loaded file"));
  enough_ = true;
}

// Registered frames make libgcc take a lock at each throw; a handler that unwinds would wait for it
// in the thread that holds it, for ever. The more there are, the longer it is held.
TEST_F(HandWrittenCodeTest, AThreadThatThrowsWhileFramesAreRegisteredIsNotDisturbed) {
  const std::vector<MadeCode> made(1000);
  std::atomic<uint64_t> thrown{0};
  OwnThread thread([&] {
    while (!enough_) ThrowsInAFunctionWithAName(thrown);
  });
  const auto until = std::chrono::steady_clock::now() + kPatience;
  size_t taken = 0;
  while (taken < 500 && std::chrono::steady_clock::now() < until) {
    taken += TakeStack(thread.id()).frames.empty() ? 0 : 1;
  }
  EXPECT_GT(taken, 0U);
  const uint64_t before = thrown;
  while (thrown == before) std::this_thread::yield();
  enough_ = true;
}
#endif

}  // namespace
}  // namespace lastcall
