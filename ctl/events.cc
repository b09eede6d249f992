#include "events.h"

#include <utility>

namespace lastcall {

Events::Events(Session& session, AdminClient client)
    : session_(session), client_(std::move(client)), stream_(client_->Watch()) {}

Events::Event Events::Next(Deadline by) {
  if (kept_) return *std::exchange(kept_, std::nullopt);
  while (true) {
    Event event = stream_->Next(by);
    if (!Follow(event)) return event;
  }
}

bool Events::HandedOver(Deadline by) {
  if (kept_) return false;
  Event event = stream_->Next(by);
  if (Follow(event)) return true;
  kept_ = std::move(event);
  return false;
}

bool Events::Follow(Event& event) {
  if (!event || !*event || !(*event)->has_handover()) return false;
  stream_.reset();  // before its client
  client_.reset();
  // Waits in the socket's queue until the other build listens.
  auto client = session_.Connect();
  if (!client) {
    event = tl::unexpected(client.error());
    return false;
  }
  client_.emplace(std::move(*client));
  stream_.emplace(client_->Watch());
  return true;
}

}  // namespace lastcall
