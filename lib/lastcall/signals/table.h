// What each signal does: a fixed table.
//
//   SIGTERM  shutdown                    again, 500 ms after it took effect: skip the current stage
//   SIGINT   shutdown without delay      likewise
//   SIGQUIT  cancel now
//   SIGHUP   reload; from a lost terminal: shutdown; refused while stopping
//   SIGUSR1  dump state and stacks to the log
//   SIGPIPE  ignored
#pragma once

#include <array>
#include <csignal>
#include <optional>

#include <lastcall/base/clock.h>
#include <lastcall/lifecycle/plan.h>
#include <lastcall/lifecycle/stage.h>

namespace lastcall {

// A signal as it was received.
struct ReceivedSignal {
  int number = 0;
  pid_t pid = 0;  // of the sender; 0: the kernel, or a process outside the pid namespace
  uid_t uid = 0;
  int code = 0;  // si_code of sigaction(2)
  Instant at{};
  WallTime wall{};
  bool handled = false;  // a handler of the program's own has it too
};

// The signals that Lastcall reads; blocked in every thread.
inline constexpr std::array kHandledSignals{SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGUSR1};

enum class SignalAction {
  kShutdown,  // enter the request
  kSkip,      // enter a request that skips the current stage
  kMerge,     // a repeat that came at once: enter it; of a SIGINT, the delay goes all the same
  kReload,
  kRefuseReload,  // stopping: log it
  kDump,
};

// Decides what a signal does. Remembers when the first SIGTERM or SIGINT took effect; an admin's
// request does not count as one.
class SignalTable {
 public:
  static constexpr Duration kRepeatAfter = std::chrono::milliseconds(500);

  SignalAction Decide(const ReceivedSignal& signal, Stage stage);

 private:
  std::optional<Instant> took_effect_;
};

// The entry that `signal` makes in the ledger. For kShutdown, kSkip and kMerge.
Request RequestOf(const ReceivedSignal& signal, SignalAction action);
// Without the sender's name, which takes a look into /proc.
Request NamelessRequestOf(const ReceivedSignal& signal, SignalAction action);

}  // namespace lastcall
