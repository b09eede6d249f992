// StatusFeed: tells the watchers what has changed, once for all that happens in one turn of the loop.
#pragma once

#include <functional>
#include <utility>

#include "daemon/admin/watch_hub.h"

#include <lastcall/event/subscription.h>

namespace lastcall {

// Threads: the loop's.
class StatusFeed {
 public:
  // `status`: as it is now.
  StatusFeed(WatchHub& hub, Executor loop, std::function<admin::v1::Status()> status)
      : hub_(hub), loop_(std::move(loop)), status_(std::move(status)) {}

  // Whether anybody would hear of it.
  bool watched() const { return hub_.HasWatchers(); }
  // Something has, that a status shows.
  void Changed() {
    if (pending_ || !watched()) return;
    pending_ = true;
    loop_([this] { Publish(); });
  }
  // The same, without waiting for the turn's end: the daemon's may be a moment away.
  void ChangedNow() {
    if (watched()) Publish();
  }

 private:
  void Publish() {
    pending_ = false;
    hub_.Publish(status_());
  }

  WatchHub& hub_;
  const Executor loop_;
  const std::function<admin::v1::Status()> status_;
  bool pending_ = false;
};

}  // namespace lastcall
