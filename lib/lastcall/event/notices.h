// Notices: the callbacks that are told when something happens, once or each time.
#pragma once

#include <list>
#include <memory>

#include <lastcall/event/subscription.h>

namespace lastcall {

// Threads: any, for every method; any number may be subscribed. Callbacks run under no lock, so
// they may subscribe, unsubscribe and do whatever else. What was written before Tell or NotifyLast is
// visible in the callbacks. Subscriptions may outlive this.
class Notices {
 public:
  Notices();
  ~Notices();
  Notices(const Notices&) = delete;
  Notices& operator=(const Notices&) = delete;

  // After NotifyLast and NotifyExecutors the callback is told at once, before this returns. It must not
  // be empty: that aborts.
  [[nodiscard]] Subscription Subscribe(Executor executor, Callback callback);
  // To something that has happened: told at once.
  [[nodiscard]] static Subscription Late(Executor executor, Callback callback);

  // Tells everybody who is subscribed now. A callback that is running still is told again when it
  // returns, once for however many times.
  void Notify();
  // Tells everybody for the last time.
  void NotifyLast();
  // The same, for those alone that have an executor; the others that are there are told by NotifyLast.
  void NotifyExecutors();

 private:
  friend class Subscription;
  struct List;

  static std::shared_ptr<Subscription::Entry> MakeEntry(Executor executor, Callback callback);

  const std::shared_ptr<List> list_;
};

}  // namespace lastcall
