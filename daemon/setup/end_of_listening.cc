#include "daemon/setup/end_of_listening.h"

#include <utility>

namespace lastcall {

void EndOfListening::Begin(const Listeners& sockets, Duration last_call) {
  Defer(sockets);
  if (sockets_.empty()) return;
  for (const auto& listener : sockets_) listener->HoldOff();
  call_ = std::make_shared<const char>();
  last_call_.expires_after(last_call);
  last_call_.async_wait([this, call = std::weak_ptr(call_)](const boost::system::error_code&) {
    if (!call.expired()) End();
  });
}

void EndOfListening::Defer(const Listeners& sockets) {
  for (const auto& listener : sockets) {
    if (listener->own()) sockets_.insert(listener);
  }
}

void EndOfListening::End() {
  call_.reset();
  last_call_.cancel();
  for (const auto& listener : std::exchange(sockets_, {})) listener->EndListening();
}

}  // namespace lastcall
