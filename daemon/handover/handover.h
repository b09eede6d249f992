// Handover: another build of lastcalld was found, and takes this one's place in the same process.
//
//   checking ─ it has proved itself ─► leaving ─ admin's callers are gone ─► execute ─► (that build)
//      │                                  │                                     │
//      └── it has not, or a shutdown ─────┴──── a shutdown, or it failed ───────┴─► this build goes on
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "daemon/handover/reexec.h"

#include <lastcall/base/log.h>
#include <lastcall/base/result.h>
#include <lastcall/base/unique_fd.h>
#include <lastcall/event/subscription.h>
#include <lastcall/lifecycle/cause.h>
#include <lastcall/supervisor/supervisor.h>

namespace lastcall {

// What a handover does to the rest of the daemon. Threads: the loop's.
class HandoverEffects {
 public:
  using Proved = std::function<void(Result<>)>;

  virtual ~HandoverEffects() = default;
  // Has a child of that build prove itself on what runs now. `proved` comes later, once; not after
  // EndCheck.
  virtual void BeginCheck(int binary, Proved proved) = 0;
  virtual void EndCheck() = 0;
  // Nothing is begun any more that takes its time, callers are told to ask the new build for
  // `number`, and the admin's are sent away; `gone` when they are, in the loop's thread.
  virtual void BeginLeave(uint64_t number, Callback gone) = 0;
  // False: something of that still waits for its answer.
  virtual bool HasLeft() = 0;
  // What comes from now on is for the new build to hear; what has come is heard here.
  virtual void Quiesce() = 0;
  // Becomes that build. Returns only when nothing has come of it.
  virtual Error Execute(int binary) = 0;
  // This build goes on. `left`: BeginLeave was called, and is undone.
  virtual void GoOn(const Error& why, bool left) = 0;
};

// Threads: the loop's.
class Handover {
 public:
  // `stamp`: of a program that is open; StampOf but for tests.
  using Stamped = std::function<Stamp(int binary)>;
  Handover(Supervisor& supervisor, HandoverEffects& effects, Executor loop, const Clock& clock,
           Log log, Stamped stamp = StampOf);

  // `program`: for messages. Order: not while one is in progress. Ends with GoOn, or never.
  void Begin(UniqueFd binary, const Cause& by, const std::string& program);
  // A shutdown wins, and waits for nobody's proof. Nothing where none is to be waited for.
  void Abort(const Error& why);

  bool active() const { return step_ != Step::kNone; }
  // Past the point where a shutdown ends it by itself.
  bool leaving() const { return step_ == Step::kLeaving; }
  const Cause& by() const { return by_; }
  uint64_t number() const { return number_; }

 private:
  enum class Step : uint8_t { kNone, kChecking, kWaiting, kLeaving };

  void Leave();
  void Execute();
  void End(const Error& why);

  Supervisor& supervisor_;
  HandoverEffects& effects_;
  const Executor loop_;
  const Clock& clock_;
  const Log log_;
  const Stamped stamp_of_;
  Step step_ = Step::kNone;
  Cause by_;
  std::string program_;
  UniqueFd binary_;
  Stamp stamp_;  // of what proves itself
  uint64_t number_ = 0;
};

}  // namespace lastcall
