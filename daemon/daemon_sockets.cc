// How the daemon ends listening where nobody will accept any more.
#include <utility>

#include "daemon/daemon.h"

namespace lastcall {
// Of those that are the daemon's own. Hosts take in who waits, for as long as a last call; one that
// hangs does not.
void Daemon::BeginEndListening(const std::set<std::shared_ptr<const Listener>>& sockets,
                               Duration last_call) {
  // A stop came between, and its delay is still served; the rest ends with it.
  const bool later = supervisor_->stage() == Stage::kDelay;
  for (const auto& listener : sockets) {
    if (!listener->own()) continue;
    if (!later && !listener->path().name.empty()) listener->HoldOff();
    ending_.push_back(listener);
  }
  if (ending_.empty() || later) return;
  last_call_.expires_after(last_call);
  last_call_.async_wait([this](const boost::system::error_code& error) {
    if (!error) EndListening();
  });
}

void Daemon::EndListening() {
  for (const auto& listener : std::exchange(ending_, {})) listener->EndListening();
}

}  // namespace lastcall
