// Program: the lifecycle and the signals of a process that has a main of its own and no Host.
//
//   int main() {
//     lastcall::BlockSignals();                          // before the first thread
//     lastcall::Program program({.shutdown = {.delay = 0s, .grace = 20s, .cancel = 5s}});
//     std::jthread worker([&] {
//       while (auto job = queue.Take()) {
//         const auto work = program.Enter(job->name);    // grace lasts until it is done
//         // Enter, then look; the other way round it may stop in between.
//         if (program.termination().Reached(lastcall::Stage::kDelay)) return queue.PutBack(*job);
//         job->Run();
//       }
//     });
//     return program.Run();                              // SIGTERM ends it, in stages
//   }
#pragma once

#include <sys/types.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <lastcall/base/log.h>
#include <lastcall/base/result.h>
#include <lastcall/lifecycle/plan.h>
#include <lastcall/lifecycle/receipt.h>
#include <lastcall/lifecycle/termination.h>
#include <lastcall/program/work.h>
#include <lastcall/signals/signals.h>

namespace lastcall {

// What a program may hear of its own end. In the lifecycle's thread: nothing here may block.
class ProgramObserver {
 public:
  virtual ~ProgramObserver() = default;
  // A request was merged, and this is the plan now; or it came when everything had stopped already.
  virtual void Requested(const Request& /*request*/, const Plan& /*plan*/) {}
  // For the receipt: the stack of the thread that entered what has not ended, innermost first. Past
  // the last instant: it may take a moment, and no more.
  virtual std::vector<std::string> StackOf(const Work::Info& /*info*/) { return {}; }
  // For a dump (SIGUSR1): more lines, behind what is in flight.
  virtual std::vector<std::string> Dump() { return {}; }
  // Everything has stopped; kStopped is reached next.
  virtual void Finished(const Receipt& /*receipt*/) {}
};

struct ProgramOptions {
  std::string name = "program";
  Budget shutdown = {};
  // Ends delay early when nothing new was in flight for that long.
  std::optional<Duration> quiet = {};
  std::optional<SignalReader::Form> signals = SignalReader::Form::kWait;  // empty: reads none
  // When something has not ended at the last instant, the process ends by _exit(4). False: whoever
  // waits for kStopped does it, once the receipt's exit code says 4.
  bool exit_when_forced = true;
  ProgramObserver* observer = nullptr;  // optional
  // void(LogLevel, std::string_view); empty: warnings and errors to stderr. Called in a thread of
  // its own, one line after another, so that nothing waits for it: what it does not take in time is
  // dropped, counted, and said.
  Log log = {};
};

// Reads signals and requests on a thread of its own, and moves through the stages:
//
//   starting  until Ready
//   serving   until somebody asks for a stop
//   delay     until its instant, or quiet
//   grace     until nothing is in flight or held, or its instant
//   cancel    until nothing is in flight or held and every part is closed, or its instant; what
//             was in flight when it began counts as cancelled
//   stopped   the receipt is there
//
// A stop that is requested while starting goes straight to cancel. The process is never longer in
// delay, grace and cancel together than their lengths, whatever the rest of it does, unless an
// inline callback (Termination::OnReached) does not return.
//
// Threads: any, for every method, also inside callbacks and while others stop; none blocks but Run
// and the destructor. At most one Program that reads signals a process.
//
// A forked child has no lifecycle: the thread stays in the parent. There every Result is
// kFailedPrecondition and says what to do, Enter and Open return work of nothing, signals do what
// they did before (kHandler) or stay blocked (kWait), no stage is ever reached, and the destructor
// does nothing.
class Program {
 public:
  explicit Program(ProgramOptions options = {});
  // Where it has not stopped, every stage is reached now, so that nobody waits forever.
  // Blocks: until callbacks that run have returned, and a call of the log. Where that one has not
  // returned at the plan's end, the process ends by _exit(4), as options.exit_when_forced says.
  // Order: after every other method has returned in every thread. So not in a callback that the
  // lifecycle's own thread runs, nor in an executor or in what that runs at once: RequestStop calls
  // it, and goes on.
  ~Program();

  // Everything is started. Only the first call counts. Fails: kResourceExhausted, no descriptor was
  // left for the signals, which do what they did before.
  Result<> Ready();
  // Ready, then wait. Blocks: until stopped. Returns the exit code: 0 everything finished, 3 work
  // was cancelled, 4 something had not returned (without exit_when_forced).
  int Run();

  // Asks for a stop: merged with every other request, see Ledger. Lengths that are left out are the
  // configured ones. A request that does not say when it was made was made now. Executors of
  // Termination::OnReached run inside.
  Result<> Shutdown(std::string reason, std::optional<Duration> delay = {},
                    std::optional<Duration> grace = {}, std::optional<Duration> cancel = {});
  Result<> RequestStop(Request request);
  // Other lengths for requests to come; empty: as before. Once there was one, they stay as they are.
  Result<> Configure(std::optional<Duration> delay, std::optional<Duration> grace,
                     std::optional<Duration> cancel);
  // Takes over a plan made elsewhere, by a supervisor.
  Result<> Adopt(const Plan& plan, std::vector<Ledger::Entry> entries);

  // A call or a job is in flight until the result goes: grace lasts while there is one. `peer` is
  // who requested it. Nothing is refused: whoever takes work looks at the stages himself. Order:
  // enter, then look. What was entered before a stage was seen not reached is in the count when
  // that stage begins; what is entered after the look may be in nobody's, and the program may have
  // stopped, with "every call finished", in between. Who cannot, for it comes by itself (accept),
  // holds the program until nothing comes any more, see Hold.
  [[nodiscard]] Work Enter(std::string name, const std::string& peer = {});
  // Something that must be closed before the program has stopped: a server, a pool, a file. It
  // keeps the cancel stage open, not the grace, and its name is in the receipt if it is not closed
  // in time.
  [[nodiscard]] Work Open(std::string name);
  // Something that keeps grace and cancel open without being a call: a server that sends its
  // clients away, and does not know of each call; a listener, until it is closed when grace begins.
  [[nodiscard]] Work Hold(std::string name);

  Termination termination() const;
  // Null until kStopped is reached; then it does not change for as long as the program lives.
  const Receipt* receipt() const;
  // kFailedPrecondition in a forked child.
  Result<> CheckNotForked() const;

 private:
  class Loop;

  const pid_t pid_;
  std::unique_ptr<Loop> loop_;
};

}  // namespace lastcall
