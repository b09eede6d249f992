#include "lastcall/rpc/client_watch.h"

#include <iterator>
#include <utility>

namespace lastcall {

void ClientWatch::Add(Ask ask) {
  std::lock_guard lock(mutex_);
  watched_.push_back(std::move(ask));
  // Else it is awake, and asks whoever has come when the period is over.
  if (watched_.size() > 1) return;
  changed_.notify_one();
  if (!watcher_.begun()) {
    watcher_.Begin([this](const std::stop_token& end) { Run(end); });
  }
}

void ClientWatch::Run(const std::stop_token& end) {
  std::unique_lock lock(mutex_);
  while (changed_.wait(lock, end, [this] { return !watched_.empty(); })) {
    changed_.wait_for(lock, end, period_, [] { return false; });
    if (end.stop_requested()) return;  // the wait above is true for whoever is there still
    auto round = std::move(watched_);
    watched_.clear();
    lock.unlock();
    std::erase_if(round, [](const Ask& ask) { return !ask(); });
    lock.lock();
    watched_.insert(watched_.end(), std::make_move_iterator(round.begin()),
                    std::make_move_iterator(round.end()));
  }
}

}  // namespace lastcall
