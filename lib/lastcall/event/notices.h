// Notices: the callbacks that are told when something happens, once or each time.
#pragma once

#include <list>
#include <memory>

#include <lastcall/event/subscription.h>

namespace lastcall {

// Threads: any, for every method; any number may be subscribed. Callbacks run under no lock, so
// they may subscribe, unsubscribe and do whatever else. What was written before Tell or Happen is
// visible in the callbacks. Subscriptions may outlive this.
class Notices {
 public:
  Notices();
  ~Notices();
  Notices(const Notices&) = delete;
  Notices& operator=(const Notices&) = delete;

  // After Happen the callback is told at once, before this returns.
  [[nodiscard]] Subscription Subscribe(Executor executor, Callback callback);

  // Tells everybody who is subscribed now. A callback that is running still is told again when it
  // returns, once for however many times.
  void Tell();
  // Tells everybody for the last time.
  void Happen();
  // The same, for those alone that have an executor; the others are told by Happen.
  void HappenElsewhere();

 private:
  friend class Subscription;
  struct List;

  const std::shared_ptr<List> list_;
};

}  // namespace lastcall
