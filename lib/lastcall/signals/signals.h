// Reading signals on a thread of their own, with the sender's pid and uid.
//
//   int main() {
//     lastcall::BlockSignals();                        // before the first thread
//     lastcall::SignalReader signals(clock, [&](ReceivedSignal s) { inbox.Post(s); });
#pragma once

#include <csignal>
#include <functional>
#include <memory>
#include <vector>

#include <lastcall/signals/table.h>

namespace lastcall {

// Blocks kHandledSignals in the calling thread and the threads it makes, and ignores SIGPIPE.
// Order: before the first thread. Executables that link lastcall's early mask need it for SIGPIPE
// alone: the rest happened before the static initialisers. Async-signal-safe.
void BlockSignals();

// Gives kHandledSignals back to the calling thread, for one that wants their default actions.
void UnblockSignals();

// Whether kHandledSignals, or this one, are blocked in the calling thread.
bool SignalsAreBlocked();
bool SignalIsBlocked(int signal);

// The name of the thread that waits for them in kWait: the kernel shows its signals as not blocked.
inline constexpr char kSignalReaderThread[] = "signal-reader";

// Reads signals and hands each to `receive`, in its own thread.
class SignalReader {
 public:
  enum class Form {
    kWait,     // sigwaitinfo: for programs that blocked the signals before their first thread
    kHandler,  // handlers that only write the siginfo to a pipe: for those that could not. Handlers
               // that were there before are called too, and break system calls where they did; a
               // forked child gets their disposition back. SIGHUP, SIGINT and SIGQUIT stay ignored
               // where they are, as nohup(1) and shells' background jobs have it.
  };

  // `receive` runs in the reader's thread and must not block. At most one reader of kHandler at a time.
  SignalReader(const Clock& clock, std::function<void(const ReceivedSignal&)> receive,
               Form form = Form::kWait);
  // Blocks: until the thread has ended. What arrives later stays pending (kWait), or meets the
  // disposition that was in place before (kHandler).
  ~SignalReader();

  // False: there was no descriptor for kHandler's pipe, and signals do what they did before.
  bool reads() const;

  // Puts the handlers of kHandler back where they have been replaced since, and calls those from
  // there, until the program puts back what it had found: for programs that learn of such a moment.
  // Returns the signals that were replaced. Does nothing where nobody reads.
  // Threads: any.
  static std::vector<int> Reclaim();

  // Gives kHandler's reader a signal that the program has taken from a queue of its own, by
  // sigwait(3) or the like, where no handler meets it. Does nothing where nobody reads.
  // Threads: any.
  static void Hear(const siginfo_t& info);

 private:
  class Source;
  class WaitSource;
  class HandlerSource;

  std::unique_ptr<Source> source_;
};

}  // namespace lastcall
