#include "lastcall/threads/stack_signal.h"

#include <semaphore.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <memory>
#include <mutex>
#include <string_view>
#include <vector>

#include "lastcall/threads/own_memory.h"
#include "lastcall/threads/thread_sample.h"

namespace lastcall {
namespace {

constexpr long kPatienceNs = 200'000'000;
// Below the stack pointer, where a function at its end has what it has just popped: neither signals
// nor the kernel write there (System V ABI, "red zone"), and GCC's frame rules rely on it.
constexpr uint64_t kRedZone = 128;

// Where the handler of the asked thread leaves its copy. A thread that begins to answer too late
// finds another ticket and leaves it alone.
struct Exchange {
  std::atomic<int> ticket{0};   // of the question that is open; 0: none
  std::atomic<pid_t> asked{0};  // the thread
  Registers registers;
  std::array<uint8_t, kCopiedStack> stack;
  std::atomic<size_t> copied{0};  // stored after the copy
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

// Where the copy begins.
uint64_t TopOf(const Registers& registers) {
  return registers.values[Registers::kStackPointer] - kRedZone;
}

int StackSignal() { return SIGRTMAX - 1; }

void Answer(int, siginfo_t* info, void* context) {
  const int saved = errno;
  Exchange* const exchange = TheExchanges().open.load();
  int ticket = info->si_value.sival_int;
  if (exchange != nullptr && exchange->asked.load() == static_cast<pid_t>(syscall(SYS_gettid)) &&
      exchange->ticket.compare_exchange_strong(ticket, -ticket)) {
    exchange->registers = Registers::OfContext(*static_cast<const ucontext_t*>(context));
    exchange->copied =
        ReadOwnUpTo(TopOf(exchange->registers), exchange->stack.data(), exchange->stack.size());
    sem_post(&exchange->answered);
  }
  errno = saved;
}

void InstallOnce() {
  static std::once_flag once;
  std::call_once(once, [] {
    // Once before a handler does it, for the first call of a function looks it up.
    TheExchanges();
    CanReadOwn();
    struct sigaction action {};
    action.sa_sigaction = &Answer;
    // On a stack of its own where a thread has one: those of other languages may be small. Blocked
    // while it is handled, or handlers would pile up on that stack.
    action.sa_flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK;
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

// Why there is no answer; empty: it is there.
std::string_view AskAndWait(Exchange& exchange, pid_t thread) {
  static int last_ticket = 0;
  const int ticket = ++last_ticket;
  exchange.asked.store(thread);
  exchange.ticket.store(ticket);
  TheExchanges().open.store(&exchange);
  if (!Ask(thread, ticket)) return errno == ESRCH ? "the thread has ended" : "it cannot be asked";
  if (WaitForAnswer(exchange.answered)) return "";
  int open = ticket;
  // Taken back, unless the thread has begun: then its answer is a moment away.
  if (!exchange.ticket.compare_exchange_strong(open, 0)) {
    if (WaitForAnswer(exchange.answered)) return "";
    exchange.owed = true;
  }
  return "it did not answer within a fifth of a second: it hangs in the kernel, or has no "
         "processor";
}

std::optional<bool> SignalIsBlocked(pid_t thread) {
  constexpr std::string_view kKey = "\nSigBlk:\t";
  const std::string status = ReadThreadFile(thread, "status").text;
  const size_t at = status.find(kKey);
  if (at == std::string::npos) return {};
  const uint64_t blocked = std::strtoull(status.c_str() + at + kKey.size(), nullptr, 16);
  return (blocked >> (StackSignal() - 1) & 1) != 0;
}

}  // namespace

std::optional<bool> BlocksStackSignal(pid_t thread) {
  constexpr int kLooks = 20;
  constexpr timespec kPause{0, 1'000'000};
  const Exchange* const latest = TheExchanges().open.load();
  auto blocked = SignalIsBlocked(thread);
  for (int i = 1; i < kLooks && blocked == true && latest != nullptr && latest->asked == thread;
       ++i) {
    nanosleep(&kPause, nullptr);
    blocked = SignalIsBlocked(thread);
  }
  return blocked;
}

TakenStack AskForStack(pid_t thread,
                       const std::function<TakenStack(const Registers&, const ReadWord&)>& read) {
  InstallOnce();
  Exchanges& exchanges = TheExchanges();
  std::lock_guard lock(exchanges.one_at_a_time);
  Exchange& exchange = OneToAskBy(exchanges.all);
  const std::string_view why_not = AskAndWait(exchange, thread);
  if (!why_not.empty()) return {{}, std::string(why_not), false};
  const size_t copied = exchange.copied;  // and all that was stored before it
  const uint64_t begin = TopOf(exchange.registers);
  return read(exchange.registers, [&](uint64_t address) -> std::optional<uint64_t> {
    uint64_t word = 0;
    // A difference below zero is a large number.
    if (address - begin >= copied || copied - (address - begin) < sizeof(word)) return {};
    std::memcpy(&word, &exchange.stack[address - begin], sizeof(word));
    return word;
  });
}

}  // namespace lastcall
