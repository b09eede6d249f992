#include "lastcall/rpc/retirement.h"

#include <grpc/grpc.h>
#include <grpcpp/server.h>

#include <algorithm>
#include <utility>

#include "lastcall/rpc/own_threads.h"

namespace lastcall {
namespace {

using namespace std::chrono_literals;

// What a cancelled call's status has to reach its client; then its connection is closed. A peer that
// never acknowledges the GOAWAY would hold the shutdown for 20 s.
constexpr Duration kLastStatus = 250ms;

// GOAWAY goes to the connections that gRPC has in hand; one in its handshake is not, yet.
constexpr Duration kRepeat = 200ms;

// How often to look when nothing tells that a connection is gone.
constexpr Duration kLook = 10ms;

// How long clients are waited for that have no call and do not answer: where nobody else would
// serve their next one, where somebody does, and where gRPC may close a connection without
// lingering. The last GOAWAY has the code INTERNAL_ERROR, gRPC's server having no other for it: what
// a client began that had heard neither is begun elsewhere by C++ and Go, and lost by Node and Java.
// So those have time to hear the first one, however busy their machine is.
constexpr Duration kShortSilence = 20ms;
constexpr Duration kSilence = 2s;
constexpr Duration kLongSilence = 6s;

// How often to look whether the threads have had their turn, and how soon to try again when a client
// was just saying something.
constexpr Duration kTurn = 1ms;
constexpr Duration kPause = 10ms;

// What gRPC has read has to become a call in flight, where nothing tells whether it has.
constexpr Duration kShortMuted = 20ms;
constexpr Duration kMuted = 200ms;

// How long a connection is left alone of which something is missing: the rest of a request, or the
// room for a last word. The longer one is what idle clients take to look at their connections.
constexpr Duration kShortDoubt = 1s;
constexpr Duration kDoubt = 6s;

// What a connection that has nothing to write has to be closed; it may be in its handshake still.
constexpr Duration kShortClosing = 50ms;
constexpr Duration kClosing = 200ms;

// How long a connection lingers here: where nobody would answer its client's next try, and before
// it goes to the heir.
constexpr Duration kShortLinger = 20ms;
constexpr Duration kLinger = 50ms;

}  // namespace

Retirement::Retirement(grpc::Server& server, Connections& connections, Options options)
    : server_(server),
      connections_(connections),
      options_(std::move(options)),
      lingering_(std::make_unique<Lingering>(connections_, [this] { Nudge(); })) {}

void Retirement::End() {
  if (!run_.begun()) return;
  Cancel();
  cancel_.Join();
  run_.Join();
}

void Retirement::SendGoaway() {
  if (!run_.begun()) Ask();
}

void Retirement::Ask() {
  lingering_->Begin();
  connections_.Count();  // forgets those that gRPC closed before
  if (options_.goaway) options_.goaway(server_);
}

void Retirement::Begin(LastCall last_call, ConnectionSink heir, std::function<void()> retired) {
  last_call_ = std::move(last_call);
  heir_ = std::move(heir);
  retired_ = std::move(retired);
  succeeded_ = heir_ != nullptr;
  run_.Begin([this](const std::stop_token&) { Run(); });
}

void Retirement::Cancel() {
  if (cancel_.begun() || !run_.begun()) return;
  {
    std::lock_guard lock(mutex_);
    cancelled_ = true;
  }
  Nudge();
  cancel_.Begin([this](const std::stop_token&) { RunCancel(); });
}

void Retirement::Nudge() {
  std::lock_guard lock(mutex_);
  nudged_ = true;
  changed_.notify_all();
}

// Clients that came to the last call. One that hears the GOAWAY before it has sent its call tries again,
// and nobody answers. gRPC numbers connections, but does not say which is which: those that nobody
// waits for are made first.
class Retirement::Newcomers {
 public:
  explicit Newcomers(Retirement& of) : of_(of) {
    of_.last_call_.let_silent_in();
    const Channelz& channelz = of_.options_.channelz;
    before_ = channelz.Newest();
    // In their handshake already, these get their numbers later, and may begin calls like the others.
    const size_t known = of_.connections_.known(), made = channelz.Look().connections;
    if (of_.options_.handshake > Duration::zero() && known > made) others_ = known - made;
    waited_for_ = of_.last_call_.let_in();
    by_ = std::chrono::steady_clock::now() + std::min<Duration>(kSilence, of_.last_call_.patience);
  }

  // Whether one of them may be about to begin its call.
  bool Expected(Instant now) {
    if (waited_for_.empty() || now < next_look_) return !waited_for_.empty();
    std::erase_if(waited_for_, [this](int fd) { return !of_.connections_.Has(fd); });
    const bool begun = of_.options_.channelz.BegunSince(before_) >= waited_for_.size() + others_;
    if (now >= by_ || begun) waited_for_.clear();
    next_look_ = now + (waited_for_.size() > kMany ? kPause : kTurn);
    return !waited_for_.empty();
  }

 private:
  // To look at more takes its time.
  static constexpr size_t kMany = 100;

  Retirement& of_;
  intptr_t before_ = 0;  // the last connection that is none of them
  size_t others_ = 0;
  std::vector<int> waited_for_;
  Instant by_;
  Instant next_look_{};
};

void Retirement::Run() {
  last_call_.closed();
  Ask();
  lingering_->Limit(succeeded_ ? kLinger : kShortLinger + 4 * connections_.LongestRoundTrip(),
                    std::move(heir_));
  AwaitDeparture(Newcomers(*this));
  server_.Shutdown();
  lingering_ = nullptr;  // until what was written has been read
  over_.Set();
  retired_();
}

// Those that gRPC has not closed.
size_t Retirement::Remaining() {
  return Lingering::Works() ? connections_.known() : connections_.Count();
}

// Of the clients that have no call and do not answer: asked, not heard any more, sent away with a
// last word, cut off. A call begins it anew, until the last word is said.
class Retirement::IdleEviction {
 public:
  IdleEviction(Retirement& of, Instant now)
      : of_(of),
        patience_(Patience()),
        // One in its handshake hears no GOAWAY yet.
        young_until_(of.succeeded_ ? of.connections_.last_added() + of.options_.handshake : now) {
    Ask(now);
  }

  // When to look again.
  Instant next() const { return busy_ ? kNever : due_; }

  // Takes the step that is due. `busy`: calls are in flight.
  void Look(Instant now, bool busy) {
    const bool was_busy = std::exchange(busy_, busy);
    if ((busy || was_busy) && step_ < Step::kSentAway) {
      if (step_ == Step::kMuted) of_.lingering_->Unmute();
      Ask(now);
    }
    if (busy || now < due_) return;
    due_ = now + TakeStep(now);
  }

 private:
  enum class Step { kAsked, kMuted, kSentAway, kCutOff };

  // A client that is there answers within its round trip, however busy it is.
  Duration Patience() const {
    const Duration round_trips = 4 * of_.connections_.LongestRoundTrip();
    if (!of_.succeeded_) return kShortSilence + round_trips;
    return (Lingering::Works() ? kSilence : kLongSilence) + round_trips;
  }

  void Ask(Instant now) {
    step_ = Step::kAsked;
    pause_ = kPause;
    due_ = now + patience_;
    doubt_until_ = std::max(due_, young_until_) + (of_.succeeded_ ? kDoubt : kShortDoubt);
  }

  // Returns when the next one is due.
  Duration TakeStep(Instant now) {
    switch (step_) {
      case Step::kAsked:
        of_.lingering_->Mute();
        step_ = Step::kMuted;
        muted_at_ = now;
        unread_ = of_.connections_.Unread() > 0;
        threads_.Begin();
        return Duration::zero();
      case Step::kMuted:
        return now < doubt_until_ && !unread_ && !Rested(now) ? kTurn : SayLastWord(now);
      default: return CutOff(now);
    }
  }

  // What gRPC has read, it has seen: every thread that may have had it in hand has had its turn.
  bool Rested(Instant now) {
    if (threads_.Rested()) return true;
    return !threads_.known() && now >= muted_at_ + (of_.succeeded_ ? kMuted : kShortMuted);
  }

  // Of a call that has begun to arrive gRPC has seen the stream, and the rest may be on its way; what
  // was unread when it stopped listening, it may be about to read. What comes later, nobody has seen.
  bool MayHaveCalls(Instant now) const {
    if (unread_ || of_.options_.in_flight() > 0) return true;
    if (!of_.options_.channelz.known()) return now < young_until_;
    const Channelz::Count seen = of_.options_.channelz.Look();
    const bool handshakes = seen.connections < of_.connections_.known();
    return seen.streams > of_.options_.housekeeping() || (handshakes && now < young_until_);
  }

  Duration SayLastWord(Instant now) {
    if (now < doubt_until_ && MayHaveCalls(now)) {
      of_.lingering_->Unmute();
      step_ = Step::kAsked;
      return pause_ = std::min(2 * pause_, kRepeat);
    }
    // The last GOAWAY says which calls were seen: none that is not over.
    grpc_server_cancel_all_calls(of_.server_.c_server());
    step_ = Step::kSentAway;
    moved_at_ = now;
    threads_.Begin();
    return kPause;
  }

  // The last word did not go out. Where there is no room for it the peer has to read first; where there
  // is, gRPC has had its turn and has not closed the connection, of which it has no call yet.
  Duration CutOff(Instant now) {
    const uint64_t untaken = of_.connections_.Untaken();
    if (std::exchange(untaken_, untaken) != untaken) moved_at_ = now;
    const bool over = untaken == 0 && threads_.Rested();
    const Duration longest = over ? (of_.succeeded_ ? kClosing : kShortClosing)
                                  : (of_.succeeded_ ? kDoubt : kShortDoubt);
    if (now < moved_at_ + longest) return kPause;
    of_.connections_.Sever();
    step_ = Step::kCutOff;
    return kClosing;
  }

  Retirement& of_;
  const Duration patience_;
  const Instant young_until_;
  Step step_ = Step::kAsked;
  Instant due_;
  bool busy_ = false;
  Duration pause_{};
  Instant doubt_until_;  // from then on nothing more is waited for

  Instant muted_at_;
  bool unread_ = false;
  OwnThreads threads_;
  uint64_t untaken_ = 0;
  Instant moved_at_;
};

// Until every connection is gone, or somebody cancels. New calls come on connections alone, so that
// what is in flight then is the rest, and Shutdown waits for it.
void Retirement::AwaitDeparture(Newcomers newcomers) {
  Instant now = std::chrono::steady_clock::now();
  // gRPC takes up to a tenth more.
  const Instant aged_at = options_.goaway ? now : now + options_.age * 11 / 10;
  if (aged_at <= now) options_.sent_away();
  Instant goaway_at = now + kRepeat;
  IdleEviction eviction(*this, now);
  bool expecting = true;
  while (Remaining() > 0) {
    now = std::chrono::steady_clock::now();
    const bool expected = std::exchange(expecting, newcomers.Expected(now));
    if (goaway_at <= now || (expected && !expecting)) {
      if (options_.goaway && !expecting) options_.goaway(server_);
      if (aged_at <= now) options_.sent_away();
      goaway_at = now + kRepeat;
      connections_.Count();  // forgets what was closed while it was being looked at
    }
    if (options_.goaway) eviction.Look(now, expecting || options_.in_flight() > 0);
    std::unique_lock lock(mutex_);
    if (cancelled_) return;
    const Instant look = expecting ? now + kTurn : Lingering::Works() ? kNever : now + kLook;
    const Instant asked = std::min(goaway_at, options_.goaway ? eviction.next() : kNever);
    changed_.wait_until(lock, std::min(asked, look), [this] { return nudged_; });
    nudged_ = false;
  }
}

// Again and again, for Shutdown may only be about to begin, and let a call in until it has.
void Retirement::RunCancel() {
  const Instant sever_at = std::chrono::steady_clock::now() + kLastStatus;
  bool severed = false;
  do {
    grpc_server_cancel_all_calls(server_.c_server());
    if (!severed && std::chrono::steady_clock::now() >= sever_at) {
      connections_.Sever();
      severed = true;
    }
  } while (!over_.WaitUntil(std::chrono::steady_clock::now() + kLastStatus / 5));
}

}  // namespace lastcall
