#include "lastcall/host/stack.h"

#include <cxxabi.h>
#include <dirent.h>
#include <dlfcn.h>
#include <execinfo.h>
#include <semaphore.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <ctime>
#include <memory>
#include <mutex>

#include "lastcall/host/symbols.h"
#include "lastcall/lifecycle/cause.h"

namespace lastcall {
namespace {

constexpr long kPatienceNs = 200'000'000;
constexpr int kMaxFrames = 48;

// Where the handler of the asked thread leaves its frames. A thread that begins to answer too late
// finds another ticket and leaves it alone.
struct Exchange {
  std::atomic<int> ticket{0};   // of the question that is open; 0: none
  std::atomic<pid_t> asked{0};  // the thread
  std::array<void*, kMaxFrames> frames{};
  std::atomic<int> count{0};  // stored after the frames
  sem_t answered;
  bool owed = false;  // an answer was begun, and nobody waited for its end

  Exchange() { sem_init(&answered, 0, 0); }
};

// The handler has no argument, hence the global.
struct Exchanges {
  std::mutex one_at_a_time;
  std::vector<std::unique_ptr<Exchange>> all;
  std::atomic<Exchange*> open{nullptr};  // where the latest question is answered
};

Exchanges& TheExchanges() {
  static auto* const exchanges = new Exchanges;
  return *exchanges;
}

// One that no thread may still write to: where an answer is owed, it stays until that is there.
Exchange& OneToAskBy(std::vector<std::unique_ptr<Exchange>>& all) {
  for (const auto& each : all) {
    if (each->owed && sem_trywait(&each->answered) != 0) continue;
    each->owed = false;
    return *each;
  }
  return *all.emplace_back(std::make_unique<Exchange>());
}

int StackSignal() { return SIGRTMAX - 1; }

void Answer(int, siginfo_t* info, void*) {
  const int saved = errno;
  Exchange* const exchange = TheExchanges().open.load();
  int ticket = info->si_value.sival_int;
  if (exchange != nullptr && exchange->asked.load() == static_cast<pid_t>(syscall(SYS_gettid)) &&
      exchange->ticket.compare_exchange_strong(ticket, -ticket)) {
    exchange->count = backtrace(exchange->frames.data(), kMaxFrames);
    sem_post(&exchange->answered);
  }
  errno = saved;
}

void InstallOnce() {
  static std::once_flag once;
  std::call_once(once, [] {
    // The first backtrace loads a library, which a signal handler must not do.
    void* warm_up[1];
    backtrace(warm_up, 1);
    TheExchanges();
    struct sigaction action {};
    action.sa_sigaction = &Answer;
    action.sa_flags = SA_SIGINFO | SA_RESTART;
    sigaction(StackSignal(), &action, nullptr);
  });
}

bool Ask(pid_t id, int ticket) {
  siginfo_t info{};
  info.si_signo = StackSignal();
  info.si_code = SI_QUEUE;
  info.si_pid = getpid();
  info.si_uid = getuid();
  info.si_value.sival_int = ticket;
  return syscall(SYS_rt_tgsigqueueinfo, getpid(), id, StackSignal(), &info) == 0;
}

bool WaitForAnswer(sem_t& answered) {
  timespec until{};
  clock_gettime(CLOCK_MONOTONIC, &until);
  until.tv_nsec += kPatienceNs;
  until.tv_sec += until.tv_nsec / 1'000'000'000;
  until.tv_nsec %= 1'000'000'000;
  int result = 0;
  while ((result = sem_clockwait(&answered, CLOCK_MONOTONIC, &until)) != 0 && errno == EINTR) {
  }
  return result == 0;
}

}  // namespace

std::vector<std::string> StackOf(pid_t id) {
  InstallOnce();
  Exchanges& exchanges = TheExchanges();
  std::lock_guard lock(exchanges.one_at_a_time);
  Exchange& exchange = OneToAskBy(exchanges.all);
  static int last_ticket = 0;
  const int ticket = ++last_ticket;
  exchange.asked.store(id);
  exchange.ticket.store(ticket);
  exchanges.open.store(&exchange);
  if (!Ask(id, ticket)) return {};
  if (!WaitForAnswer(exchange.answered)) {
    int open = ticket;
    // Taken back, unless the thread has begun: then its answer is a moment away.
    if (exchange.ticket.compare_exchange_strong(open, 0)) return {};
    if (!WaitForAnswer(exchange.answered)) {
      exchange.owed = true;
      return {};
    }
  }
  std::vector<std::string> names;
  // The first two are the handler and the kernel's way back from it.
  for (int i = 2; i < exchange.count; ++i) names.push_back(SymbolName(exchange.frames[i]));
  return names;
}

std::vector<ThreadStack> AllStacks() {
  std::vector<ThreadStack> stacks;
  const std::unique_ptr<DIR, int (*)(DIR*)> tasks(opendir("/proc/self/task"), &closedir);
  if (tasks == nullptr) return stacks;
  const pid_t self = gettid();
  while (const dirent* entry = readdir(tasks.get())) {
    const pid_t id = std::atoi(entry->d_name);
    if (id <= 0 || id == self) continue;
    stacks.push_back({id, CommandOf(id), StackOf(id)});
  }
  return stacks;
}

}  // namespace lastcall
