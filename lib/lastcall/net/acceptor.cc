#include "lastcall/net/acceptor.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "lastcall/base/result.h"

namespace lastcall {
namespace {

// How long to leave the queue alone when the process is out of descriptors or at its cap.
constexpr int kBackOffMs = 100;
// At a last call, how far back those have come who tell how long a handshake takes.
constexpr Duration kLately = std::chrono::seconds(1);
// Connections taken from one socket before the others have their turn.
constexpr int kBatch = 64;

// How long the handshake of a connection took that was just accepted.
Duration HandshakeOf(int connection) {
  tcp_info info{};
  socklen_t size = sizeof(info);
  getsockopt(connection, IPPROTO_TCP, TCP_INFO, &info, &size);  // nothing on a unix socket
  return std::chrono::microseconds(info.tcpi_rtt);
}

}  // namespace

Acceptor::Acceptor(std::vector<Listener> listeners, Callbacks callbacks, const Clock& clock)
    : listeners_(std::move(listeners)),
      callbacks_(std::move(callbacks)),
      clock_(clock),
      wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      ends_(listeners_.size()),
      thread_([this] { Run(); }) {}

Acceptor::~Acceptor() {
  BeginEnd(false);
  thread_.join();
}

void Acceptor::Resume() { Give(Order::kAccept); }

void Acceptor::Pause() {
  Give(Order::kPause);
  Await(Order::kPause);
}

void Acceptor::BeginEnd(bool last_call, const std::set<std::string>& unserved) {
  std::lock_guard lock(mutex_);
  if (order_ == Order::kEnd) return;
  if (order_ == Order::kLastCall) {
    if (!last_call && unserved.empty()) Set(Order::kEnd);
    return;
  }
  // Who has not accepted knows of nobody who waits.
  const bool all = last_call && order_ == Order::kAccept;
  bool any = false;
  for (size_t i = 0; i < listeners_.size(); ++i) {
    const bool lost = unserved.contains(listeners_[i].address());
    ends_[i] = {.last_call = lost || all, .refuse = lost || listeners_[i].own()};
    any = any || ends_[i].last_call;
  }
  Set(any ? Order::kLastCall : Order::kEnd);
}

void Acceptor::AwaitEnd() { Await(Order::kEnd); }

bool Acceptor::ended() const {
  std::lock_guard lock(mutex_);
  return state_ == Order::kEnd;
}

bool Acceptor::accepting() const { return order_ == Order::kAccept; }

void Acceptor::Give(Order order) {
  std::lock_guard lock(mutex_);
  if (order_ == Order::kEnd) return;
  if (order_ != Order::kLastCall) return Set(order);
  if (order == Order::kPause) Set(Order::kEnd);
}

// Order: with the mutex.
void Acceptor::Set(Order order) {
  order_ = order;
  eventfd_write(wake_.get(), 1);
}

// Until the thread does as it was told last, and that is nothing, or `order`'s end.
void Acceptor::Await(Order order) {
  std::unique_lock lock(mutex_);
  obeyed_.wait(
      lock, [&] { return state_ == Order::kEnd || (order == Order::kPause && state_ == order_); });
}

Acceptor::Order Acceptor::Obey() {
  std::lock_guard lock(mutex_);
  state_ = order_;
  // Before anybody hears that it has ended: a queue in which nobody is served must not fill.
  if (state_ == Order::kEnd) Close();
  obeyed_.notify_all();
  return state_;
}

void Acceptor::Run() {
  std::vector<pollfd> watched{{wake_.get(), POLLIN, 0}};
  for (const Listener& listener : listeners_) watched.push_back({listener.fd(), POLLIN, 0});
  for (;;) {
    const Order order = Obey();
    if (order == Order::kEnd) return;
    if (order == Order::kLastCall) {
      AcceptLast();
      continue;
    }
    const bool accept = order == Order::kAccept && !backing_off_;
    const nfds_t count = accept ? watched.size() : 1;
    const int ready = poll(watched.data(), count, backing_off_ ? kBackOffMs : -1);
    if (ready == 0) backing_off_ = false;
    if (ready <= 0) continue;
    eventfd_t ignored;
    if (watched[0].revents != 0) {
      eventfd_read(wake_.get(), &ignored);
      continue;
    }
    for (size_t i = 1; i < count; ++i) {
      if (watched[i].revents != 0) AcceptBatch(i - 1, order, kNever);
    }
  }
}

void Acceptor::Close() {
  for (size_t i = 0; i < listeners_.size(); ++i) {
    if (ends_[i].refuse) listeners_[i].EndListening();
  }
  listeners_.clear();
}

void Acceptor::AcceptLast() {
  const Instant by = After(clock_.Now(), kLastCall);
  std::vector<pollfd> queues;  // -1: not looked at
  for (size_t i = 0; i < listeners_.size(); ++i) {
    queues.push_back({ends_[i].last_call ? listeners_[i].fd() : -1, POLLIN, 0});
    // Whoever came after the last look would be cut off with what he has said already.
    if (ends_[i].last_call && ends_[i].refuse) listeners_[i].HoldOff();
  }
  do {
    AcceptWaiting(queues, by);
  } while (clock_.Now() < by && AwaitHandshakes(queues) && order_ == Order::kLastCall);
  std::lock_guard lock(mutex_);
  order_ = Order::kEnd;
}

// True: one that was in progress at HoldOff has ended. Where nobody came lately, nobody is expected.
bool Acceptor::AwaitHandshakes(std::vector<pollfd>& queues) {
  if (clock_.Now() - last_accepted_ > kLately) return false;
  for (size_t i = 0; i < queues.size(); ++i) {
    // Nobody can come any more, though poll would always say so; or who comes now is not lost.
    const bool shut = listeners_[i].fault() == Listener::Fault::kShutDown;
    if (shut || !ends_[i].refuse) queues[i].fd = -1;
  }
  const auto longest = std::min<Duration>(2 * handshake_, kLastCall);
  const timespec patience{0, static_cast<long>(longest.count())};
  return ppoll(queues.data(), queues.size(), &patience, nullptr) > 0;
}

// The listeners take turns, so that a flood of one leaves time for the others.
void Acceptor::AcceptWaiting(const std::vector<pollfd>& queues, Instant by) {
  std::vector<char> over;
  for (const pollfd& queue : queues) over.push_back(queue.fd < 0 ? 1 : 0);
  while (!std::all_of(over.begin(), over.end(), [](char one) { return one != 0; })) {
    for (size_t i = 0; i < over.size(); ++i) {
      if (over[i] == 0) over[i] = AcceptBatch(i, Order::kLastCall, by);
    }
  }
}

bool Acceptor::AcceptBatch(size_t listener, Order order, Instant by) {
  for (int i = 0; i < kBatch; ++i) {
    if (order_ != order || clock_.Now() >= by) return true;
    if (!callbacks_.has_room()) {
      BackOff("the limit of connections is reached");
      return true;
    }
    UniqueFd connection(
        accept4(listeners_[listener].fd(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (connection) {
      NoteHandshake(connection.get());
      callbacks_.accepted(listener, std::move(connection));
      continue;
    }
    const int error = errno;
    // EINVAL: it was shut down; now by us, or by somebody who shares it.
    if (error == EAGAIN || (error == EINVAL && order == Order::kLastCall)) {
      starved_ = false;
      return true;
    }
    if (error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM ||
        error == EINVAL) {
      BackOff("cannot accept: " + ErrnoText(error));
      return true;
    }
    // ECONNABORTED and whatever the network reports through accept(2): the next may be well.
  }
  return false;
}

void Acceptor::NoteHandshake(int connection) {
  const Instant now = clock_.Now();
  const Duration lately = now - last_accepted_ > kLately ? Duration::zero() : handshake_;
  handshake_ = std::max(lately, HandshakeOf(connection));
  last_accepted_ = now;
}

void Acceptor::BackOff(const std::string& why) {
  backing_off_ = true;
  if (std::exchange(starved_, true)) return;
  callbacks_.warn(why + "; new connections wait in the kernel's queue");
}

}  // namespace lastcall
