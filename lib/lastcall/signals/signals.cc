#include "lastcall/signals/signals.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <deque>
#include <iterator>
#include <mutex>
#include <thread>
#include <utility>

#include "lastcall/base/unique_fd.h"

namespace lastcall {
namespace {

sigset_t HandledSet() {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : kHandledSignals) sigaddset(&set, signal);
  return set;
}

// What the handler tells the reader; smaller than PIPE_BUF, so that writes are whole.
struct Note {
  int number;  // 0: nobody writes any more
  int code;
  pid_t pid;
  uid_t uid;
  bool handled;
};

// A signal handler has no argument of its own, hence the globals.
std::atomic<int> note_pipe{-1};     // -1 while nobody reads
std::atomic<pid_t> note_reader{0};  // the process that reads
std::atomic<int> note_writers{0};   // handlers that may be using it
std::mutex reclaiming;              // Reclaim and the reader's end take turns

// Each disposition that ours took the place of has a handler function of ours to itself, which says
// what it calls. So a program that saves what it finds, and puts that back, puts back what calls on
// to what was there at that time; and a handler that passes its signals on to what it had found
// does not meet itself. By signal number, in the order in which they were found.
constexpr size_t kMostEarlier = 16;
// A handler that began long ago may be looking at one, so none is ever changed or freed.
std::atomic<const struct sigaction*> earlier[NSIG][kMostEarlier];

bool Same(const struct sigaction& a, const struct sigaction& b) {
  return a.sa_handler == b.sa_handler && a.sa_flags == b.sa_flags &&
         std::memcmp(&a.sa_mask, &b.sa_mask, sizeof(a.sa_mask)) == 0;
}

// Where in earlier[signal] it is from now on. Once there are too many, the last ones share a place.
size_t Remember(int signal, const struct sigaction& action) {
  static auto* const known = new std::deque<struct sigaction>;
  size_t place = 0;
  for (; place < kMostEarlier; ++place) {
    const struct sigaction* const one = earlier[signal][place].load();
    if (one == nullptr) break;
    if (Same(*one, action)) return place;
  }
  place = std::min(place, kMostEarlier - 1);
  earlier[signal][place].store(&known->emplace_back(action));
  return place;
}

bool IsFunction(const struct sigaction& action) {
  return (action.sa_flags & SA_SIGINFO) != 0 ||
         (action.sa_handler != SIG_DFL && action.sa_handler != SIG_IGN);
}

void WriteNote(int number, const siginfo_t& info, bool handled) {
  Note note{};
  note.number = number;
  note.code = info.si_code;
  note.pid = info.si_pid;
  note.uid = info.si_uid;
  note.handled = handled;
  ++note_writers;
  // A full pipe holds thousands of unread signals; one more would say nothing new.
  [[maybe_unused]] const ssize_t ignored = write(note_pipe.load(), &note, sizeof(note));
  --note_writers;
}

void CallOn(const struct sigaction& before, int number, siginfo_t* info, void* context) {
  if (!IsFunction(before)) return;
  if ((before.sa_flags & SA_SIGINFO) != 0) {
    before.sa_sigaction(number, info, context);
  } else {
    before.sa_handler(number);
  }
}

void Handle(size_t place, int number, siginfo_t* info, void* context) {
  const int saved = errno;
  const struct sigaction& before = *earlier[number][place].load();
  if (note_reader.load() != getpid()) {
    // A forked child: the pipe is its parent's. It gets what it would have got without us.
    sigaction(number, &before, nullptr);
    raise(number);  // delivered on return, for it is blocked in here
  } else if (number == SIGUSR1) {
    // Both may write a dump to the same place: whoever was here first has written all of his.
    CallOn(before, number, info, context);
    WriteNote(number, *info, IsFunction(before));
  } else {
    // Whoever was here first is told too, and may not return.
    WriteNote(number, *info, IsFunction(before));
    CallOn(before, number, info, context);
  }
  errno = saved;
}

using Handler = void (*)(int, siginfo_t*, void*);

template <size_t... place>
constexpr std::array<Handler, sizeof...(place)> MakeHandlers(std::index_sequence<place...>) {
  return {
      [](int number, siginfo_t* info, void* context) { Handle(place, number, info, context); }...};
}

constexpr auto kHandlers = MakeHandlers(std::make_index_sequence<kMostEarlier>());

// What the handler in place calls on to; null: it is none of ours.
const struct sigaction* Before(int signal, const struct sigaction& action) {
  const auto* const found = std::ranges::find(kHandlers, action.sa_sigaction);
  return found == kHandlers.end() ? nullptr : earlier[signal][found - kHandlers.begin()].load();
}

// nohup and shells that start a job in the background say by this that it is not meant.
bool IsLeftAlone(int signal, const struct sigaction& action) {
  return (signal == SIGHUP || signal == SIGINT || signal == SIGQUIT) &&
         action.sa_handler == SIG_IGN;
}

// What is in place is remembered, to be called and to be put back. False: it was ours already, or
// is left alone.
bool Install(int signal) {
  struct sigaction before {};
  sigaction(signal, nullptr, &before);
  // A forked child has its parent's, which serve it as well.
  if (Before(signal, before) != nullptr || IsLeftAlone(signal, before)) return false;
  struct sigaction action {};
  action.sa_sigaction = kHandlers[Remember(signal, before)];
  // A handler that was there may rely on breaking the system call that it interrupts, and on
  // hearing its own signal meanwhile.
  const int like_before = SA_RESTART | SA_NODEFER;
  action.sa_flags =
      SA_SIGINFO | SA_ONSTACK | (IsFunction(before) ? before.sa_flags & like_before : SA_RESTART);
  action.sa_mask = before.sa_mask;
  sigaction(signal, &action, nullptr);
  return true;
}

// Has the signals blocked from its first moment, also where the program has not blocked them.
std::thread ReaderThread(std::function<void()> read) {
  struct Mask {
    Mask() {
      const sigset_t set = HandledSet();
      pthread_sigmask(SIG_BLOCK, &set, &before);
    }
    ~Mask() { pthread_sigmask(SIG_SETMASK, &before, nullptr); }
    sigset_t before;
  } const mask;
  return std::thread([read = std::move(read)] {
    pthread_setname_np(pthread_self(), kSignalReaderThread);
    read();
  });
}

ReceivedSignal Received(const Clock& clock, int number, int code, pid_t pid, uid_t uid) {
  const bool from_kernel = code == SI_KERNEL;
  return {.number = number,
          .pid = from_kernel ? 0 : pid,
          .uid = from_kernel ? 0 : uid,
          .code = code,
          .at = clock.Now(),
          .wall = clock.Wall()};
}

}  // namespace

void BlockSignals() {
  const sigset_t set = HandledSet();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  struct sigaction ignore {};
  ignore.sa_handler = SIG_IGN;
  sigaction(SIGPIPE, &ignore, nullptr);
}

void UnblockSignals() {
  const sigset_t set = HandledSet();
  pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
}

bool SignalIsBlocked(int signal) {
  sigset_t now;
  pthread_sigmask(SIG_BLOCK, nullptr, &now);
  return sigismember(&now, signal) == 1;
}

bool SignalsAreBlocked() { return std::ranges::all_of(kHandledSignals, SignalIsBlocked); }

class SignalReader::Source {
 public:
  using Receive = std::function<void(const ReceivedSignal&)>;
  virtual ~Source() = default;
  virtual bool reads() const { return true; }
};

class SignalReader::WaitSource final : public Source {
 public:
  WaitSource(const Clock& clock, Receive receive) : clock_(clock), receive_(std::move(receive)) {
    thread_ = ReaderThread([this] { Read(); });
  }

  ~WaitSource() override {
    if (getpid() != pid_) {  // a forked child has no such thread
      thread_.detach();
      return;
    }
    ending_.store(true);
    // To this one thread. Should it be lost, for one is pending there already, that one wakes it.
    pthread_kill(thread_.native_handle(), SIGUSR1);
    thread_.join();
  }

 private:
  void Read() {
    const sigset_t set = HandledSet();
    for (;;) {
      siginfo_t info{};
      const int number = sigwaitinfo(&set, &info);
      if (number < 0) continue;  // EINTR: stopped and continued, or a debugger
      const bool ending = ending_.load();
      if (!ending || number != SIGUSR1) {
        receive_(Received(clock_, number, info.si_code, info.si_pid, info.si_uid));
      }
      if (ending) return;
    }
  }

  const Clock& clock_;
  const Receive receive_;
  const pid_t pid_ = getpid();
  std::atomic<bool> ending_{false};
  std::thread thread_;
};

class SignalReader::HandlerSource final : public Source {
 public:
  HandlerSource(const Clock& clock, Receive receive) : clock_(clock), receive_(std::move(receive)) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) return;  // the old dispositions stay
    read_end_.Reset(ends[0]);
    write_end_.Reset(ends[1]);
    fcntl(ends[1], F_SETFL, O_NONBLOCK);
    if (note_reader.exchange(getpid()) != getpid())
      note_writers.store(0);  // they were the parent's
    note_pipe.store(ends[1]);
    thread_ = ReaderThread([this] { Read(); });
    std::lock_guard lock(reclaiming);
    for (const int signal : kHandledSignals) Install(signal);
  }

  bool reads() const override { return thread_.joinable(); }

  ~HandlerSource() override {
    if (!reads()) return;
    if (getpid() != note_reader.load()) {  // a forked child has no such thread, nor our lock
      RestoreAll();
      thread_.detach();
      return;
    }
    {
      std::lock_guard lock(reclaiming);
      RestoreAll();
      note_pipe.store(-1);
    }
    // A handler in another thread may be about to write; its descriptor must not be another's then.
    while (note_writers.load() > 0) std::this_thread::yield();
    TellEnd();
    thread_.join();
  }

 private:
  // Unless somebody has put a handler of his own there since.
  static void RestoreAll() {
    for (const int signal : kHandledSignals) {
      struct sigaction now {};
      sigaction(signal, nullptr, &now);
      if (const auto* const before = Before(signal, now)) sigaction(signal, before, nullptr);
    }
  }

  // Behind all that was written. Not by close(2): a forked child may have a copy of the descriptor.
  void TellEnd() {
    const Note end{};
    while (write(write_end_.get(), &end, sizeof(end)) < 0 && (errno == EAGAIN || errno == EINTR)) {
      pollfd room{write_end_.get(), POLLOUT, 0};
      poll(&room, 1, -1);
    }
  }

  void Read() {
    Note note{};
    for (;;) {
      const ssize_t size = read(read_end_.get(), &note, sizeof(note));
      if (size < 0 && errno == EINTR) continue;
      if (size != sizeof(note) || note.number == 0) return;
      ReceivedSignal signal = Received(clock_, note.number, note.code, note.pid, note.uid);
      signal.handled = note.handled;
      receive_(signal);
    }
  }

  const Clock& clock_;
  const Receive receive_;
  UniqueFd read_end_;
  UniqueFd write_end_;
  std::thread thread_;
};

SignalReader::SignalReader(const Clock& clock, std::function<void(const ReceivedSignal&)> receive,
                           Form form) {
  if (form == Form::kWait) {
    source_ = std::make_unique<WaitSource>(clock, std::move(receive));
  } else {
    source_ = std::make_unique<HandlerSource>(clock, std::move(receive));
  }
}

SignalReader::~SignalReader() = default;

bool SignalReader::reads() const { return source_->reads(); }

std::vector<int> SignalReader::Reclaim() {
  std::vector<int> reclaimed;
  if (note_reader.load() != getpid()) return reclaimed;
  std::lock_guard lock(reclaiming);
  if (note_pipe.load() < 0) return reclaimed;
  std::ranges::copy_if(kHandledSignals, std::back_inserter(reclaimed), Install);
  return reclaimed;
}

void SignalReader::Hear(const siginfo_t& info) {
  const bool handled = std::ranges::find(kHandledSignals, info.si_signo) != kHandledSignals.end();
  if (handled && note_reader.load() == getpid()) WriteNote(info.si_signo, info, true);
}

}  // namespace lastcall
