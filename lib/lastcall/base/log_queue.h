// LogQueue: a log whose callers never wait for whoever reads it.
//
//   LogQueue log([writer](const LogQueue::Line& line) { return writer.Write("", line.text); });
//   log(LogLevel::kInfo, "serving");  // any thread; returns immediately, also when nothing reads
//   …
//   log.Flush();                      // 100 ms for the reader, then the process may end
//   _exit(0);
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include <lastcall/base/clock.h>
#include <lastcall/base/log.h>

namespace lastcall {

// Lines wait in a bounded queue for a thread of its own, which alone waits for the sink. What does
// not fit is dropped, counted, and said in its place once there is room again. The thread is made
// in the constructor, for at the end there may be none left, and has no signal's handler run in it.
//
// A handle: copies share the queue, and are a Log. The last one flushes, then leaves a thread whose
// sink does not return to itself.
// Threads: any, for every method. None blocks but where it says so.
class LogQueue {
 public:
  struct Line {
    LogLevel level;
    WallTime at;
    std::string text;
  };
  // Takes one line after another, in order, in the queue's thread. May block, even forever: so it
  // must own what it uses. False, or an exception: the line was not taken, and counts as dropped.
  using Sink = std::function<bool(const Line&)>;
  struct Limits {
    size_t lines = 20'000;
    size_t bytes = 4 << 20;
  };
  // What a reader that takes no line is worth before the process ends or executes another program.
  static constexpr Duration kPatience = std::chrono::milliseconds(100);

  explicit LogQueue(Sink sink, LogLevel level = LogLevel::kTrace)
      : LogQueue(std::move(sink), level, Limits()) {}
  LogQueue(Sink sink, LogLevel level, Limits limits);

  // The queue in front of a log that may block: `log` itself where it is one already, Stderr()
  // where it is empty.
  static LogQueue Before(const Log& log);
  // Warnings and errors to stderr. One a process, so that whoever has no other log keeps its order;
  // not destroyed, so flush it. A forked child has its own.
  static LogQueue Stderr();

  // Lines below the level are left out, at the cost of a comparison.
  void SetLevel(LogLevel level) const;
  LogLevel level() const;

  void operator()(LogLevel level, std::string_view text) const;

  // Blocks: until everything is written (true), or one line has taken that long, or all of them ten
  // times that: a machine that is busy is no reader that has stopped.
  bool Flush(Duration patience = kPatience) const;

  // Before the process executes another program: from here on no line is taken out, until Resume.
  // Returns how many that other program has to answer for: left in the queue, or dropped and not
  // said.
  uint64_t Suspend() const;
  void Resume() const;
  // Lines that were dropped elsewhere.
  void AddDropped(uint64_t lines) const;

  // For whoever made it by Before, and is about to go: what the program's own function uses may go
  // next. The queue is flushed; what is left is dropped, and so is what comes now. One that was
  // there before is flushed, and goes on.
  // Blocks: until a call of that function has returned (true), or `by` (false).
  bool Release(Instant by) const;

 private:
  struct State;
  class Owner;

  std::shared_ptr<const Owner> owner_;
  bool borrows_ = false;  // made by Before, around a function of the program's own
};

}  // namespace lastcall
