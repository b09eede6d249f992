// StallWatch: notices calls that make no progress, and says why: by evidence, not by guess.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include <lastcall/base/clock.h>
#include <lastcall/base/log.h>
#include <lastcall/host/callback_threads.h>
#include <lastcall/host/frozen_judge.h>
#include <lastcall/host/full_servers.h>
#include <lastcall/host/stall_profile.h>
#include <lastcall/host/stall_reports.h>
#include <lastcall/rpc/live_call.h>
#include <lastcall/threads/doing.h>
#include <lastcall/threads/pause.h>
#include <lastcall/threads/symbols.h>

namespace lastcall {

// Threads: one, which looks when it is due.
class StallWatch {
 public:
  // From one look to the next. What a thread does is known from two.
  static constexpr Duration kPeriod = std::chrono::milliseconds(250);

  struct Parts {
    const Clock& clock;
    Log log;
    std::string prefix;  // of the ids of its calls: "main/3/"
    std::string process;
    Duration frozen_after = std::chrono::seconds(10);  // see FrozenJudge
  };
  explicit StallWatch(Parts parts);

  // A call, with copies of what goes with its server; which may go once it is over.
  struct Living {
    std::string server;
    uint64_t number = 0;  // over all servers
    std::shared_ptr<LiveCall> call;
    std::string method;
    CountedMethod::Stall rule;
  };
  using Find = std::function<std::vector<Living>(const std::function<bool(const LiveCall&)>&)>;

  // What it looks at.
  struct View {
    Find find;
    std::function<std::vector<Crowd>()> crowds;           // of now
    std::function<std::vector<CanaryReport>()> canaries;  // of all servers
    std::function<uint64_t()> turns;  // grows with each call that begins, and each that ends
  };

  Instant due() const { return std::min(wake_.planned, profile_.due()); }
  // Order: when it is due. `serving`: whether the process neither starts nor stops; else the log hears of
  // nothing.
  void Look(const View& view, bool serving);

  struct Stall {
    std::string server;
    std::string method;
    StallCause cause = StallCause::kUnknown;
    std::string why;  // "blocked in read of fd 17, tcp 10.0.0.5:5432, for 12s"
    Duration idle{};
    std::vector<std::string> stack;  // innermost first; taken when it was idle for
    Duration stack_taken{};          // so long; zero: not yet
    bool thread_known = false;
    pid_t thread = 0;    // that it is in for certain
    bool moved = false;  // its stack was another than before, when it was taken again
  };
  // As of the last look, by number.
  const std::map<uint64_t, Stall>& stalls() const { return stalls_; }
  // Why the process is frozen: "2 of 2 callback threads are held by …"; empty: it is not. The log has it
  // already, with the stacks.
  const std::string& frozen() const { return frozen_; }
  // Where the call spends its time, as lines; empty: that was not looked at.
  std::vector<std::string> ProfileOf(uint64_t number) const;
  // The servers that refuse calls for them, likewise.
  const std::map<std::string, FullServers::Full>& full() const { return full_servers_.full(); }

 private:
  void LookAtItself(bool says);
  // Runs while the call's server is there.
  bool IsSuspect(const LiveCall& call) const;
  Duration IdleOf(const LiveCall& call) const;
  // Adds the call to stalls_, if it is one.
  void Judge(const Living& living);
  void JudgeThread(pid_t thread, uint64_t number, Stall& stall);
  void TakeStackOf(pid_t thread, uint64_t number, Stall& stall);
  void JudgeReactor(const Living& living, Stall& stall);
  bool IsCertain(const CallbackThreads::Held& held) const;
  bool MayBeIn(const LiveCall& call, const CallbackThreads::Held& held) const;
  void CountPossible(const std::vector<Living>& suspects, const Find& find);
  void JudgeCallbackThreads(bool says);
  void JudgeProcess(const View& view, bool serving);
  bool MadeProgress(const View& view);
  std::string HeldBy() const;
  void SayStacks() const;
  void Report(const Living& living, const Stall& stall);
  // One that is said again is looked at more closely.
  void BeginProfile(const Living& living, const Stall& stall);
  void TakeSample(Instant now, bool says);
  void ForgetEnded();
  void ReportFull();
  void ReportSuppressed();
  void Say(const std::string& line, const std::vector<std::string>& stack) const;

  const Parts parts_;
  Wake wake_;
  Duration queued_{};       // of this thread, so far
  Duration process_ran_{};  // so far
  Instant now_{};
  Instant before_{};  // the look before
  Lateness::Cause lateness_ = Lateness::Cause::kNone;
  Instant forgiven_ = Instant::min();  // nobody is blamed for what was before
  std::map<uint64_t, ThreadSample> last_samples_;
  std::map<uint64_t, ThreadSample> samples_;
  std::map<uint64_t, Stall> last_stalls_;
  std::map<uint64_t, Stall> stalls_;
  size_t stacks_ = 0;  // that were taken in this look
  CallbackThreads callback_threads_;
  FullServers full_servers_;
  std::map<pid_t, std::string> makes_reactor_;  // the method of the call that a thread begins
  std::map<pid_t, size_t> possible_;            // how many calls a held thread could be in
  bool callbacks_progress_ = false;             // any of their calls does, just now
  bool frozen_said_ = false;
  Instant frozen_said_at_{};
  FrozenJudge frozen_judge_;
  std::string frozen_;
  uint64_t turns_ = 0;  // as of the last look at which every callback thread was held
  StallReports reports_;
  std::set<uint64_t> said_;  // calls
  StallProfile profile_;
  std::string profiled_;       // "/shop.Prices/Get of server public (call main/3/7)"
  SymbolNames profile_names_;  // of this one alone: the addresses of a thread that runs are many
  std::map<uint64_t, std::vector<std::string>> profiles_;
  Instant suppressed_said_{};
  SymbolNames names_;
};

}  // namespace lastcall
