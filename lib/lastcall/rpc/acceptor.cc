#include "lastcall/rpc/acceptor.h"

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
// Connections taken from one socket before the others have their turn.
constexpr int kBatch = 64;

}  // namespace

Acceptor::Acceptor(std::vector<Listener> listeners, Callbacks callbacks, const Clock& clock)
    : listeners_(std::move(listeners)),
      callbacks_(std::move(callbacks)),
      clock_(clock),
      wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
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

void Acceptor::BeginEnd(bool last_call) { Give(last_call ? Order::kLastCall : Order::kEnd); }

void Acceptor::AwaitEnd() { Await(Order::kEnd); }

bool Acceptor::ended() const {
  std::lock_guard lock(mutex_);
  return state_ == Order::kEnd;
}

bool Acceptor::accepting() const { return order_ == Order::kAccept; }

void Acceptor::Give(Order order) {
  std::lock_guard lock(mutex_);
  if (order_ == Order::kEnd) return;
  const bool ending = order_ == Order::kLastCall;
  if (ending && (order == Order::kAccept || order == Order::kLastCall)) return;
  // Who has not accepted knows of nobody who waits.
  const bool vain = order == Order::kLastCall && order_ == Order::kPause;
  order_ = ending || vain ? Order::kEnd : order;
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
  if (state_ == Order::kEnd) listeners_.clear();
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

// The listeners take turns, so that a flood of one leaves time for the others.
void Acceptor::AcceptLast() {
  const Instant by = After(clock_.Now(), kLastCall);
  std::vector<char> over(listeners_.size());
  while (!std::all_of(over.begin(), over.end(), [](char one) { return one != 0; })) {
    for (size_t i = 0; i < over.size(); ++i) {
      if (over[i] == 0) over[i] = AcceptBatch(i, Order::kLastCall, by);
    }
  }
  std::lock_guard lock(mutex_);
  order_ = Order::kEnd;
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
      callbacks_.accepted(listener, std::move(connection));
      continue;
    }
    const int error = errno;
    if (error == EAGAIN) {
      starved_ = false;
      return true;
    }
    // EINVAL: somebody who shares the socket has shut it down.
    if (error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM ||
        error == EINVAL) {
      BackOff("cannot accept: " + ErrnoText(error));
      return true;
    }
    // ECONNABORTED and whatever the network reports through accept(2): the next may be well.
  }
  return false;
}

void Acceptor::BackOff(const std::string& why) {
  backing_off_ = true;
  if (std::exchange(starved_, true)) return;
  callbacks_.warn(why + "; new connections wait in the kernel's queue");
}

}  // namespace lastcall
