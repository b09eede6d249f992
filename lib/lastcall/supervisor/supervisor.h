// The supervisor: decides when processes start, are started again and stop, and when the daemon as a
// whole goes from one stage to the next. It has no threads, descriptors or timers: it is told what
// happened (On…), acts through Process, and reports through SupervisorObserver.
//
//   phase     ready     start failed  exited                    stop requested  its instant passed
//   starting  running   remembered    waiting; first start:     stopping        killed: not ready in time
//                                     the daemon stops
//   running   -         -             waiting, or down by       stopping        -
//                                     policy
//   stopping  -         -             down                      told again      killed (when the plan ends)
//   waiting   -         -             -                         down            starting
//   down      -         -             -                         -               -
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <lastcall/base/log.h>
#include <lastcall/base/result.h>
#include <lastcall/lifecycle/lifecycle.h>
#include <lastcall/lifecycle/receipt.h>
#include <lastcall/signals/table.h>
#include <lastcall/supervisor/back_off.h>
#include <lastcall/supervisor/process.h>
#include <lastcall/supervisor/restart_policy.h>

namespace lastcall {

class SupervisorObserver {
 public:
  virtual ~SupervisorObserver() = default;
  // The daemon as a whole. After every process was told.
  virtual void StageEntered(Stage stage) = 0;
  // Somebody asked for a reload; nothing of the supervisor's own state depends on it.
  virtual void ReloadRequested() = 0;
  virtual void DumpRequested() = 0;
  // Anything that a status shows.
  virtual void Changed() = 0;
  // Nothing is left; the exit code is in the receipt.
  virtual void Finished(const Receipt& receipt) = 0;
};

struct Draining {
  Cause by;
  Instant since{};
};

// Threads: one, the loop's. Nothing blocks.
class Supervisor {
 public:
  struct Member {
    std::string name;
    RestartPolicy restart = RestartPolicy::kAlways;
    std::vector<std::string> servers;
    Process* process = nullptr;  // must outlive the supervisor
  };
  struct Options {
    Budget shutdown;
    Duration ready = std::chrono::seconds(30);
  };

  enum class Phase : uint8_t { kStarting, kRunning, kStopping, kWaiting, kDown };

  // What is known of a member.
  struct State {
    Member member;
    Phase phase = Phase::kDown;
    uint32_t incarnation = 0;
    Stage stage = Stage::kStarting;  // of the incarnation, as it reported
    Instant phase_began{};
    Instant incarnation_began{};
    Instant accepting_since = kNever;  // kNever: it was not told to take connections yet
    Instant until = kNever;  // when its phase ends by itself: not ready in time, or starting again
    uint32_t restarts = 0;
    std::string last_failure;   // why the incarnation before ended
    std::string start_error;    // why this one could not start
    bool bad_configuration = false;
    bool killed = false;
    BackOff back_off{};
    std::optional<Receipt> receipt{};
  };

  Supervisor(Options options, std::vector<Member> members, const Clock& clock,
             SupervisorObserver& observer, Log log);

  void Start();

  void OnSignal(const ReceivedSignal& signal);
  // True: the plan moved.
  bool OnRequest(Request request);
  // `member` is its place in the list, here and below. What belongs to another incarnation than the
  // current one is ignored.
  void OnReady(size_t member, uint32_t incarnation);
  void OnStartFailed(size_t member, uint32_t incarnation, const Error& error);
  void OnStage(size_t member, uint32_t incarnation, Stage stage);
  void OnReceipt(size_t member, uint32_t incarnation, Receipt receipt);
  void OnExited(size_t member, uint32_t incarnation, const ExitStatus& status);
  // The clock reached next_instant().
  void OnTick();
  Instant next_instant() const;

  // True: it was otherwise before. Fails: kNotFound (with the names there are), kFailedPrecondition
  // while stopping.
  Result<bool> SetDraining(const std::string& server, bool draining, const Cause& by);

  Stage stage() const { return lifecycle_.stage(); }
  const Lifecycle& lifecycle() const { return lifecycle_; }
  const std::vector<State>& members() const { return members_; }
  // Servers that drain.
  const std::map<std::string, Draining, std::less<>>& draining() const { return draining_; }

 private:
  void BeginStart(State& state);
  void BeginStop();
  void Settle();
  void Apply(const Lifecycle::Changes& changes);
  void EnterStopped(Happening why);
  void Accept(State& state);
  void Failed(State& state, const ExitStatus& status);
  void Ended(State& state, const ExitStatus& status);
  void Finish();
  Receipt MakeReceipt();
  bool IsCurrent(size_t member, uint32_t incarnation) const;
  bool AllAtLeast(Stage stage) const;
  bool AllDown() const;
  void SetPhase(State& state, Phase phase, Instant until = kNever);

  const Options options_;
  const Clock& clock_;
  SupervisorObserver& observer_;
  const Log log_;
  SignalTable signal_table_;
  Lifecycle lifecycle_;
  std::vector<State> members_;
  std::map<std::string, Draining, std::less<>> draining_;
  WallTime began_{};           // when the first request came
  Instant first_request_{};
  std::optional<Error> start_error_;  // why the daemon could not start
  Instant last_patience_ = kNever;    // when to stop waiting for what was killed
  bool finished_ = false;
};

std::string_view Name(Supervisor::Phase phase);

}  // namespace lastcall
