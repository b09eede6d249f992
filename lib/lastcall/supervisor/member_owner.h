// What a member needs of the supervisor, and tells it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include <lastcall/base/clock.h>
#include <lastcall/base/log.h>
#include <lastcall/base/result.h>
#include <lastcall/lifecycle/plan.h>
#include <lastcall/lifecycle/receipt.h>
#include <lastcall/lifecycle/stage.h>

namespace lastcall {

class Member;

class MemberOwner {
 public:
  virtual ~MemberOwner() = default;
  // Of the daemon: whether it starts for the first time, serves, or stops.
  virtual Stage stage() const = 0;
  // An incarnation asks for a shutdown of the daemon.
  virtual void Requested(Request request) = 0;
  // At the first start: it cannot, and so the daemon cannot.
  virtual void CannotStart(const Member& member, Error why) = 0;
  // The change of it that was begun. `failure`: empty, it is done.
  virtual void ChangeIsOver(const Member& member, const std::string& failure) = 0;
  // It is frozen, and to be replaced for it when its turn comes, if it is so still.
  virtual void ReplaceFrozen(const Member& member) = 0;
  // A retired incarnation has ended.
  virtual void Retired(const Receipt& receipt) = 0;
  // Anything. After everything else of the same event.
  virtual void Moved() = 0;
};

struct MemberOptions {
  Budget shutdown;
  Duration ready = std::chrono::seconds(30);
  Duration settle = std::chrono::seconds(2);
  Duration retire = std::chrono::minutes(10);  // grace of a retired incarnation
  size_t keep = 3;                             // retired incarnations of a member
};

// Of all members.
struct MemberContext {
  MemberOwner& owner;
  const MemberOptions& options;
  const Clock& clock;
  const Log& log;
};

}  // namespace lastcall
