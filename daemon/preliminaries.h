// What takes time before there is a loop: reading the configuration, trying plugins. Signals are
// blocked from the first instruction on, so somebody has to hear them: here, at any moment.
#pragma once

#include <csignal>
#include <functional>
#include <optional>
#include <stdexcept>
#include <stop_token>
#include <utility>
#include <vector>

#include <lastcall/base/clock.h>
#include <lastcall/base/unique_fd.h>
#include <lastcall/event/inbox.h>
#include <lastcall/event/loop_offload.h>

namespace lastcall {

// SIGTERM, SIGINT and SIGQUIT ask for the end, and so does the SIGHUP of a terminal that is gone.
// What was heard and has not ended anything is given back at the end, with its sender, for the
// daemon to hear.
// Order: after BlockSignals.
class Preliminaries {
 public:
  // `patience`: what is almost there may still come, so that the daemon stops by its own plan, with
  // a receipt. Whoever asks again has none.
  explicit Preliminaries(Duration patience);
  ~Preliminaries();

  // Runs `work` in a thread, which must own what it uses: it may be left alone. Blocks: until it
  // has returned, or for `patience` once a signal has asked for the end (then empty).
  // Throws: std::runtime_error, what it threw.
  template <class T>
  std::optional<T> Await(std::function<T(const std::stop_token&)> work) {
    std::optional<Result<T>> result;
    offload_.Begin<T>(kNever, std::move(work), [&](Result<T> back) { result = std::move(back); });
    while (!result) {
      if (WaitUntil(end_)) continue;
      offload_.Cancel({Code::kCancelled, "a signal came"});
      return std::nullopt;
    }
    if (!*result) throw std::runtime_error(result->error().message);
    return std::move(**result);
  }

  // Blocks: until the work that was given up has returned, at most so long: where it has children
  // to end.
  void AwaitItsEnd(Duration longest) const { offload_.WaitIdle(After(clock_.Now(), longest)); }

  // Ends the process as a daemon that was stopped before it had begun: says who asked, and with 0.
  [[noreturn]] void Stop();
  // Ends it by the signal itself, as that ends any program.
  [[noreturn]] void EndByItsSignal();

 private:
  bool WaitUntil(Instant by);
  void Hear();

  const SteadyClock clock_;
  const Duration patience_;
  Instant end_ = kNever;  // of the patience
  std::vector<siginfo_t> heard_;
  UniqueFd pending_;  // readable when signals are
  UniqueFd posted_;   // an eventfd
  Inbox<Callback> inbox_;
  LoopOffload offload_;
};

}  // namespace lastcall
