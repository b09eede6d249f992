// Reading signals on a thread of their own, with the sender's pid and uid.
//
//   int main() {
//     lastcall::BlockSignals();                        // before the first thread
//     lastcall::SignalReader signals(clock, [&](ReceivedSignal s) { inbox.Post(s); });
#pragma once

#include <csignal>
#include <functional>
#include <memory>

#include <lastcall/signals/table.h>

namespace lastcall {

// Blocks kHandledSignals in the calling thread and the threads it makes, and ignores SIGPIPE.
// Order: before the first thread. Executables that link lastcall's early mask need no call: there it
// happened before the static initialisers. Async-signal-safe.
void BlockSignals();

// Whether kHandledSignals are blocked in the calling thread.
bool SignalsAreBlocked();

// Reads signals and hands each to `receive`, in its own thread.
class SignalReader {
 public:
  enum class Form {
    kWait,     // sigwaitinfo: for programs that blocked the signals before their first thread
    kHandler,  // handlers that only write the siginfo to a pipe: for those that could not
  };

  // `receive` runs in the reader's thread and must not block.
  SignalReader(const Clock& clock, std::function<void(const ReceivedSignal&)> receive,
               Form form = Form::kWait);
  // Blocks: until the thread has ended. What arrives later stays pending (kWait), or meets the
  // disposition that was in place before (kHandler).
  ~SignalReader();

 private:
  class Source;
  class WaitSource;
  class HandlerSource;

  std::unique_ptr<Source> source_;
};

}  // namespace lastcall
