// Inbox: everything that happens becomes an event that one thread reads.
//
//   Inbox<Event> inbox;
//   inbox.Post(SignalReceived{SIGTERM});                          // any thread
//   while (auto event = inbox.TakeUntil(next_instant)) Handle(*event);   // the one that reads
#pragma once

#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <utility>

#include <lastcall/base/clock.h>

namespace lastcall {

// Order: events are taken in the order in which they were posted.
template <class Event>
class Inbox {
 public:
  // Threads: any. Does not block.
  void Post(Event event) {
    // Notified under the lock, so that the reader may destroy the inbox once it has the event.
    std::lock_guard lock(mutex_);
    events_.push_back(std::move(event));
    arrived_.notify_one();
  }

  // Blocks: until there is an event, or `instant` (then empty).
  std::optional<Event> TakeUntil(Instant instant) {
    std::unique_lock lock(mutex_);
    const auto some = [this] { return !events_.empty(); };
    if (instant == kNever) {
      arrived_.wait(lock, some);
    } else if (!arrived_.wait_until(lock, instant, some)) {
      return std::nullopt;
    }
    std::optional<Event> event(std::move(events_.front()));
    events_.pop_front();
    return event;
  }

 private:
  std::mutex mutex_;
  std::condition_variable arrived_;
  std::deque<Event> events_;
};

}  // namespace lastcall
