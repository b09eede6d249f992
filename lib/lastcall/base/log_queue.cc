#include "lastcall/base/log_queue.h"

#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <csignal>
#include <deque>
#include <mutex>
#include <thread>
#include <utility>

#include "lastcall/base/line_writer.h"

namespace lastcall {
namespace {

// The signals of programs and terminals. Not those that a thread sends itself by a fault, nor the
// real-time ones, by which a thread is asked for its stack.
sigset_t SignalsOfOthers() {
  sigset_t set;
  sigemptyset(&set);
  for (int signal = 1; signal < 32; ++signal) sigaddset(&set, signal);
  for (const int fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS}) sigdelset(&set, fault);
  return set;
}

std::string DroppedText(uint64_t lines) {
  return std::to_string(lines) + (lines == 1 ? " log line was" : " log lines were") +
         " dropped because the log was not read";
}

bool IsStderr(const Log& log) {
  const auto* function = log.target<void (*)(LogLevel, std::string_view)>();
  return function != nullptr && *function == &LogToStderr;
}

}  // namespace

// What the thread shares with the handles; the thread may outlive them.
struct LogQueue::State {
  State(Sink to, LogLevel least, Limits most) : sink(std::move(to)), limits(most), level(least) {}

  struct Entry {
    Line line;
    uint64_t stands_for = 1;  // as many lines, should it be dropped
  };

  void Add(LogLevel at, std::string_view text);
  void Write();
  bool TryWrite(const Line& line) const;
  bool Fits(size_t size) const;
  void Push(Entry entry);
  bool HasWork() const { return !suspended && (!queue.empty() || (dropped > 0 && !refused)); }
  bool IsIdle() const { return in_hand == 0 && queue.empty() && (dropped == 0 || refused); }
  Entry Next();
  bool AwaitIdle(std::unique_lock<std::mutex>& lock, Duration patience);

  const Sink sink;
  const Limits limits;
  std::atomic<LogLevel> level;

  std::mutex mutex;
  std::condition_variable arrived;  // for the thread
  std::condition_variable moved;    // a line has been taken in hand, or written
  // Guarded by mutex.
  std::deque<Entry> queue;
  size_t bytes = 0;      // of the texts in the queue
  uint64_t dropped = 0;  // and not said yet
  bool full = false;     // until half of it is free again
  bool refused = false;  // the sink did not take the last line
  bool waiting = false;  // the thread, for something to do
  uint64_t in_hand = 0;  // of lines, while a call of the sink has not returned
  Instant in_hand_since{};
  bool suspended = false;
  bool closed = false;
};

// The last handle's end, once.
class LogQueue::Owner {
 public:
  explicit Owner(std::shared_ptr<State> shared) : state(std::move(shared)) {}
  ~Owner() {
    if (getpid() != pid_) return;  // a forked child has no such thread, nor its locks
    std::unique_lock lock(state->mutex);
    state->AwaitIdle(lock, kPatience);
    state->closed = true;
    state->arrived.notify_one();
  }

  const std::shared_ptr<State> state;

 private:
  const pid_t pid_ = getpid();
};

LogQueue::LogQueue(Sink sink, LogLevel level, Limits limits) {
  auto state = std::make_shared<State>(std::move(sink), level, limits);
  const sigset_t set = SignalsOfOthers();
  sigset_t before;
  pthread_sigmask(SIG_BLOCK, &set, &before);
  try {
    std::thread([state] {
      pthread_setname_np(pthread_self(), "lastcall-log");
      state->Write();
    }).detach();
  } catch (...) {
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    throw;
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  owner_ = std::make_shared<const Owner>(std::move(state));
}

LogQueue LogQueue::Before(const Log& log) {
  if (const auto* known = log.target<LogQueue>()) {
    LogQueue queue = *known;
    queue.borrows_ = false;
    return queue;
  }
  if (!log || IsStderr(log)) return Stderr();
  LogQueue queue([log](const Line& line) {
    log(line.level, line.text);
    return true;
  });
  queue.borrows_ = true;
  return queue;
}

LogQueue LogQueue::Stderr() {
  struct Made {
    const pid_t pid = getpid();
    const LogQueue queue{
        [](const Line& line) { return LineWriter(STDERR_FILENO).Write("", InLog(line.text)); },
        LogLevel::kWarning};
  };
  static std::atomic<const Made*> made{nullptr};
  const Made* known = made.load();
  if (known != nullptr && known->pid == getpid()) return known->queue;
  auto own = std::make_unique<const Made>();
  if (!made.compare_exchange_strong(known, own.get())) return known->queue;
  return own.release()->queue;
}

void LogQueue::SetLevel(LogLevel level) const { owner_->state->level = level; }

LogLevel LogQueue::level() const { return owner_->state->level; }

void LogQueue::operator()(LogLevel level, std::string_view text) const {
  State& state = *owner_->state;
  if (level >= state.level.load(std::memory_order_relaxed)) state.Add(level, text);
}

bool LogQueue::Flush(Duration patience) const {
  State& state = *owner_->state;
  std::unique_lock lock(state.mutex);
  return state.AwaitIdle(lock, patience);
}

uint64_t LogQueue::Suspend() const {
  State& state = *owner_->state;
  std::lock_guard lock(state.mutex);
  state.suspended = true;
  uint64_t lines = state.dropped + state.in_hand;
  for (const State::Entry& entry : state.queue) lines += entry.stands_for;
  return lines;
}

void LogQueue::Resume() const {
  std::lock_guard lock(owner_->state->mutex);
  owner_->state->suspended = false;
  owner_->state->arrived.notify_one();
}

void LogQueue::AddDropped(uint64_t lines) const {
  std::lock_guard lock(owner_->state->mutex);
  owner_->state->dropped += lines;
  owner_->state->arrived.notify_one();
}

bool LogQueue::Release(Instant by) const {
  Flush();
  if (!borrows_) return true;
  State& state = *owner_->state;
  std::unique_lock lock(state.mutex);
  state.closed = true;
  state.arrived.notify_one();
  const auto returned = [&] { return state.in_hand == 0; };
  if (by != kNever) return state.moved.wait_until(lock, by, returned);
  state.moved.wait(lock, returned);
  return true;
}

bool LogQueue::State::Fits(size_t size) const {
  return queue.size() < limits.lines && bytes + size <= limits.bytes;
}

void LogQueue::State::Push(Entry entry) {
  bytes += entry.line.text.size();
  queue.push_back(std::move(entry));
}

void LogQueue::State::Add(LogLevel at, std::string_view text) {
  const WallTime now = std::chrono::system_clock::now();
  std::lock_guard lock(mutex);
  if (closed) return;
  // Not one line for each that goes: a reader that is slow gets fewer gaps, and wider ones.
  if (full && queue.size() <= limits.lines / 2 && bytes <= limits.bytes / 2) full = false;
  if (full || !Fits(text.size())) {
    full = true;
    ++dropped;
    return;
  }
  if (dropped > 0) {
    Push({{LogLevel::kWarning, now, DroppedText(dropped)}, dropped});
    dropped = 0;
  }
  Push({{at, now, std::string(text)}});
  if (waiting) arrived.notify_one();
}

LogQueue::State::Entry LogQueue::State::Next() {
  if (queue.empty()) {
    const uint64_t lines = std::exchange(dropped, 0);
    full = false;
    return {{LogLevel::kWarning, std::chrono::system_clock::now(), DroppedText(lines)}, lines};
  }
  Entry entry = std::move(queue.front());
  queue.pop_front();
  bytes -= entry.line.text.size();
  return entry;
}

bool LogQueue::State::AwaitIdle(std::unique_lock<std::mutex>& lock, Duration patience) {
  const Instant began = std::chrono::steady_clock::now();
  while (!IsIdle()) {
    if (closed || (suspended && in_hand == 0)) return false;
    const Instant by = in_hand > 0 ? std::max(began, in_hand_since) + patience : kNever;
    const Instant until = std::min(by, began + 10 * patience);
    if (until <= std::chrono::steady_clock::now()) return false;
    moved.wait_until(lock, until);
  }
  return true;
}

bool LogQueue::State::TryWrite(const Line& line) const {
  try {
    return sink(line);
  } catch (...) {  // of the program's own function
    return false;
  }
}

void LogQueue::State::Write() {
  std::unique_lock lock(mutex);
  for (;;) {
    waiting = true;
    arrived.wait(lock, [this] { return closed || HasWork(); });
    waiting = false;
    if (closed) return;
    const Entry entry = Next();
    in_hand = entry.stands_for;
    in_hand_since = std::chrono::steady_clock::now();
    moved.notify_all();
    lock.unlock();
    const bool taken = TryWrite(entry.line);
    lock.lock();
    in_hand = 0;
    // Where nothing is taken, saying so is not tried until something was.
    refused = !taken;
    if (!taken) dropped += entry.stands_for;
    moved.notify_all();
  }
}

}  // namespace lastcall
