// The daemon's stream of events, across its lives: when it executes another build of itself, the
// stream goes on from that one.
#pragma once

#include <optional>

#include "client.h"
#include "session.h"

namespace lastcall {

class Events {
 public:
  Events(Session& session, AdminClient client);

  // As WatchStream::Next, but for handovers, which are followed.
  Result<std::optional<admin::v1::WatchResponse>> Next(Deadline by);
  // Whether another build has taken over since the last Next. Blocks: until that, the sign that it will
  // not (the last event is kept) or `by`.
  bool HandedOver(Deadline by);

  // The connection that the events come from.
  AdminClient& client() { return *client_; }

 private:
  using Event = Result<std::optional<admin::v1::WatchResponse>>;

  // Connects again when `event` says so. True: it did.
  bool Follow(Event& event);
  bool Begin(AdminClient client);

  Session& session_;
  std::optional<AdminClient> client_;
  std::optional<WatchStream> stream_;  // of that client
  bool heard_ = false;                 // there was an event of that stream
  std::optional<Event> kept_;
};

}  // namespace lastcall
