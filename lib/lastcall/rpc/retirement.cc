#include "lastcall/rpc/retirement.h"

#include <grpc/grpc.h>
#include <grpcpp/server.h>

#include <algorithm>
#include <utility>

namespace lastcall {
namespace {

using namespace std::chrono_literals;

// What a cancelled call's status has to reach its client; then its connection is closed. A peer that
// never acknowledges the GOAWAY would hold the shutdown for 20 s.
constexpr Duration kFarewell = 250ms;

// GOAWAY goes to the connections that gRPC has in hand; one in its handshake is not, yet.
constexpr Duration kRepeat = 200ms;

// How often to look when nothing tells that a connection is gone.
constexpr Duration kLook = 10ms;

// How long clients are waited for that have no call and do not answer: where nobody else would
// serve their next one, where somebody does, and where gRPC may close a connection without
// lingering.
constexpr Duration kShortSilence = 20ms;
constexpr Duration kSilence = 100ms;
constexpr Duration kLongSilence = 6s;

// What gRPC has read has to become a call in flight.
constexpr Duration kMuted = 20ms;

// What a dismissed client's GOAWAY has to be written; then its connection is closed.
constexpr Duration kDismissal = 50ms;

// How long a connection lingers here: where nobody would answer its client's next try, and before
// it goes to the heir.
constexpr Duration kShortFarewell = 20ms;
constexpr Duration kOwnFarewell = 50ms;

}  // namespace

Retirement::Retirement(grpc::Server& server, Connections& connections,
                       std::function<void(grpc::Server&)> goaway,
                       std::function<int64_t()> in_flight, Duration handshake)
    : server_(server),
      connections_(connections),
      goaway_(std::move(goaway)),
      in_flight_(std::move(in_flight)),
      handshake_(handshake) {}

void Retirement::End() {
  if (!thread_.joinable()) return;
  Cancel();
  cancel_.join();
  thread_.join();
}

void Retirement::SendAway() {
  if (thread_.joinable()) return;
  if (lingering_ == nullptr) {
    lingering_ = std::make_unique<Lingering>(connections_, [this] { Nudge(); });
    connections_.Count();  // forgets those that gRPC closed before
  }
  if (goaway_) goaway_(server_);
}

void Retirement::Begin(Heir heir, std::function<void()> retired) {
  retired_ = std::move(retired);
  succeeded_ = heir != nullptr;
  SendAway();
  lingering_->Limit(
      succeeded_ ? kOwnFarewell : kShortFarewell + 4 * connections_.LongestRoundTrip(),
      std::move(heir));
  thread_ = std::jthread([this] { Run(); });
}

void Retirement::Cancel() {
  if (cancel_.joinable() || !thread_.joinable()) return;
  {
    std::lock_guard lock(mutex_);
    cancelled_ = true;
  }
  Nudge();
  cancel_ = std::jthread([this] { RunCancel(); });
}

void Retirement::Nudge() {
  std::lock_guard lock(mutex_);
  nudged_ = true;
  changed_.notify_all();
}

void Retirement::Run() {
  AwaitDeparture();
  server_.Shutdown();
  lingering_ = nullptr;  // until what was written has been read
  over_.Set();
  retired_();
}

// Those that gRPC has not closed.
size_t Retirement::Remaining() {
  return Lingering::Works() ? connections_.known() : connections_.Count();
}

// A client that is there answers within its round trip, however busy it is.
Duration Retirement::Patience() {
  const Duration round_trips = 4 * connections_.LongestRoundTrip();
  if (!succeeded_) return kShortSilence + round_trips;
  return (Lingering::Works() ? kSilence : kLongSilence) + round_trips;
}

// Returns how long to wait before the next.
Duration Retirement::TakeStep(Step& step) {
  switch (step) {
    case Step::kAsked:
      // A call that gRPC has read already shows in a moment; what comes now, nobody has seen.
      lingering_->Mute();
      step = Step::kMuted;
      return kMuted;
    case Step::kMuted:
      // The last GOAWAY, that says which calls were seen: none that is not over.
      grpc_server_cancel_all_calls(server_.c_server());
      step = Step::kDismissed;
      return kDismissal;
    default:
      // It did not go out, for the peer reads nothing.
      connections_.Sever();
      step = Step::kSevered;
      return kDismissal;
  }
}

// Until every connection is gone, or somebody cancels. New calls come on connections alone, so that
// what is in flight then is the rest, and Shutdown waits for it.
void Retirement::AwaitDeparture() {
  Instant now = std::chrono::steady_clock::now();
  Instant goaway_at = now + kRepeat;
  const Duration patience = Patience();
  // One in its handshake hears no GOAWAY yet.
  const Instant young_until = succeeded_ ? connections_.last_added() + handshake_ : now;
  Step step = Step::kAsked;
  Instant step_at = std::max(now + patience, young_until);
  bool was_busy = false;
  while (Remaining() > 0) {
    now = std::chrono::steady_clock::now();
    if (goaway_at <= now) {
      if (goaway_) goaway_(server_);
      goaway_at = now + kRepeat;
      connections_.Count();  // forgets what was closed while it was being looked at
    }
    const bool busy = in_flight_() > 0;
    if ((busy || was_busy) && step < Step::kDismissed) {
      if (step == Step::kMuted) lingering_->Unmute();
      step = Step::kAsked;
      step_at = std::max(now + patience, young_until);
    }
    was_busy = busy;
    if (!busy && goaway_ && step_at <= now) step_at = now + TakeStep(step);
    std::unique_lock lock(mutex_);
    if (cancelled_) return;
    const Instant look = Lingering::Works() ? kNever : now + kLook;
    changed_.wait_until(lock, std::min({goaway_at, busy ? kNever : step_at, look}),
                        [this] { return nudged_; });
    nudged_ = false;
  }
}

// Again and again, for Shutdown may only be about to begin, and let a call in until it has.
void Retirement::RunCancel() {
  const Instant sever_at = std::chrono::steady_clock::now() + kFarewell;
  bool severed = false;
  do {
    grpc_server_cancel_all_calls(server_.c_server());
    if (!severed && std::chrono::steady_clock::now() >= sever_at) {
      connections_.Sever();
      severed = true;
    }
  } while (!over_.WaitUntil(std::chrono::steady_clock::now() + kFarewell / 5));
}

}  // namespace lastcall
