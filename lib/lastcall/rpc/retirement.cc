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

// What a dismissed client's GOAWAY has to be written; then its connection is closed.
constexpr Duration kDismissal = 50ms;

// How long a connection lingers where nobody else would answer its client's next try.
constexpr Duration kShortFarewell = 20ms;

}  // namespace

Retirement::Retirement(grpc::Server& server, Connections& connections,
                       std::function<void(grpc::Server&)> goaway,
                       std::function<int64_t()> in_flight)
    : server_(server),
      connections_(connections),
      goaway_(std::move(goaway)),
      in_flight_(std::move(in_flight)) {}

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

void Retirement::Begin(Duration silence, std::function<void()> retired) {
  retired_ = std::move(retired);
  silence_ = silence;
  SendAway();
  if (silence < 1s) lingering_->Hurry(kShortFarewell + 4 * connections_.LongestRoundTrip());
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

// Until every connection is gone, or somebody cancels. New calls come on connections alone, so that
// what is in flight then is the rest, and Shutdown waits for it.
void Retirement::AwaitDeparture() {
  Instant now = std::chrono::steady_clock::now();
  Instant goaway_at = now + kRepeat;
  // A client that is there answers within its round trip, however busy it is.
  const Duration patience = silence_ + 4 * connections_.LongestRoundTrip();
  Instant dismiss_at = now + patience;
  bool dismissed = false;
  while (Remaining() > 0) {
    now = std::chrono::steady_clock::now();
    if (goaway_at <= now) {
      if (goaway_) goaway_(server_);
      goaway_at = now + kRepeat;
      connections_.Count();  // forgets what was closed while it was being looked at
    }
    const bool busy = in_flight_() > 0;
    if (busy && !dismissed) dismiss_at = now + patience;
    if (!busy && goaway_ && dismiss_at <= now) {
      // The last GOAWAY, that says which calls were seen: none that is not over. Should it not go
      // out, for the peer reads nothing, the connection is closed all the same.
      dismissed ? connections_.Sever() : grpc_server_cancel_all_calls(server_.c_server());
      dismissed = true;
      dismiss_at = now + kDismissal;
    }
    std::unique_lock lock(mutex_);
    if (cancelled_) return;
    const Instant look = Lingering::Works() ? kNever : now + kLook;
    changed_.wait_until(lock, std::min({goaway_at, busy ? kNever : dismiss_at, look}),
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
