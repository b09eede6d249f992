// Threads that answer late, or never, when they are asked for their stacks.
#include "lastcall/threads/stack_signal.h"

#include <dlfcn.h>
#include <gmock/gmock.h>
#include <pthread.h>
#include <semaphore.h>

#include <atomic>
#include <csignal>

#include "own_thread.h"

namespace lastcall {
namespace {

// The thread that is held up at the end of its answer until this is 0; and whether it is there.
std::atomic<pid_t> slow_to_answer{0};
std::atomic<bool> is_slow{false};

const auto real_sem_post = reinterpret_cast<int (*)(sem_t*)>(dlsym(RTLD_NEXT, "sem_post"));

}  // namespace
}  // namespace lastcall

// In the place of the C library's, for this program: what an answer ends with.
extern "C" int sem_post(sem_t* semaphore) noexcept {
  if (lastcall::slow_to_answer == gettid()) {
    lastcall::is_slow = true;
    while (lastcall::slow_to_answer != 0) continue;
  }
  return lastcall::real_sem_post(semaphore);
}

namespace lastcall {
namespace {

using testing::HasSubstr;

// What is made of an answer here: that there is one.
TakenStack Asked(pid_t thread) {
  return AskForStack(thread, [](const Registers& registers, const ReadWord&) {
    return TakenStack{{registers.instruction}, "", true};
  });
}

// Where the machine is busy a thread may not answer in time: asks again.
void ExpectAnswer(pid_t thread) {
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  TakenStack stack = Asked(thread);
  while (stack.frames.empty() && std::chrono::steady_clock::now() < until) stack = Asked(thread);
  EXPECT_EQ(stack.why_not, "");
}

void ExpectNone(pid_t thread) { EXPECT_THAT(Asked(thread).why_not, HasSubstr("did not answer")); }

class StackSignalTest : public testing::Test {
 protected:
  void Work() const {
    while (!enough_) continue;
  }
  // Where it never answers.
  void WorkDeaf() {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, nullptr);
    deaf_ = true;
    Work();
  }

  std::atomic<bool> enough_{false}, deaf_{false};
};

TEST_F(StackSignalTest, WhoDoesNotAnswerHasNoStackAndTheNextOneHas) {
  OwnThread deaf([&] { WorkDeaf(); }), other([&] { Work(); });
  while (!deaf_) std::this_thread::yield();
  EXPECT_EQ(BlocksStackSignal(deaf.id()), true);
  EXPECT_EQ(BlocksStackSignal(other.id()), false);
  for (int i = 0; i < 2; ++i) {
    ExpectNone(deaf.id());
    ExpectAnswer(other.id());
  }
  enough_ = true;
}

TEST_F(StackSignalTest, AnAnswerThatComesTooLateIsNotTakenForTheNextOne) {
  OwnThread slow([&] { Work(); }), deaf([&] { WorkDeaf(); }), other([&] { Work(); });
  while (!deaf_) std::this_thread::yield();
  is_slow = false;
  slow_to_answer = slow.id();
  while (!is_slow) ExpectNone(slow.id());
  ExpectAnswer(other.id());
  slow_to_answer = 0;
  ExpectAnswer(slow.id());  // it has answered the first question, and works as before
  ExpectNone(deaf.id());
  ExpectAnswer(slow.id());
  enough_ = true;
}

TEST_F(StackSignalTest, NobodyAtAllSaysSo) {
  OwnThread thread([] {});
  thread.Join();
  while (!Look(thread.id()).gone) std::this_thread::yield();
  EXPECT_EQ(Asked(thread.id()).why_not, "the thread has ended");
  EXPECT_FALSE(BlocksStackSignal(thread.id()));
}

}  // namespace
}  // namespace lastcall
