#include "daemon/watchdog.h"

#include <utility>

#include <boost/asio/post.hpp>

namespace lastcall {

Watchdog::Watchdog(Parts parts) : parts_(std::move(parts)), timer_(parts_.loop) {}

void Watchdog::Begin() {
  if (parts_.patience > Duration::zero()) Turn();
}

// An answer that is late is one all the same: of those that are not, no beat comes.
void Watchdog::Turn() {
  const bool asked = parts_.ask([this, &loop = parts_.loop, here = std::weak_ptr(here_)] {
    boost::asio::post(loop, [this, here] {
      if (!here.expired()) parts_.beat();
    });
  });
  if (!asked) parts_.beat();
  Await();
}

void Watchdog::Await() {
  timer_.expires_after(parts_.patience / kBeats);
  timer_.async_wait([this, here = std::weak_ptr(here_)](const boost::system::error_code& error) {
    if (!error && !here.expired()) Turn();
  });
}

}  // namespace lastcall
