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
  while (true) {
    Event event = stream_->Next(by);
    if (Follow(event)) return true;
    kept_ = std::move(event);
    // What came before it is no answer: a daemon that gives way says its status once more.
    const bool goes_on = *kept_ && **kept_ && (**kept_)->has_status() &&
                         (**kept_)->status().stage() == v1::STAGE_SERVING;
    if (!goes_on) return false;
  }
}

bool Events::Follow(Event& event) {
  const bool begins = !std::exchange(heard_, heard_ || event.has_value());
  if (!event && begins && event.error().code == Code::kUnavailable) {
    // Another build was on its way already, perhaps.
    auto client = session_.Reconnect();
    return client && Begin(std::move(*client));
  }
  if (!event || !*event || !(*event)->has_handover()) return false;
  // Waits in the socket's queue until the other build listens.
  auto client = session_.Connect();
  if (client) return Begin(std::move(*client));
  event = tl::unexpected(client.error());
  return false;
}

bool Events::Begin(AdminClient client) {
  stream_.reset();  // before its client
  client_.emplace(std::move(client));
  stream_.emplace(client_->Watch());
  heard_ = false;
  return true;
}

}  // namespace lastcall
