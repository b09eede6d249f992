#include "lastcall/rpc/acceptor.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <cerrno>
#include <utility>

#include "lastcall/base/result.h"

namespace lastcall {
namespace {

// How long to leave the queue alone when the process is out of descriptors or at its cap.
constexpr int kBackOffMs = 100;
// Connections taken from one socket before the others have their turn.
constexpr int kBatch = 64;
// As many are let in at last call, in batches: more than any queue holds (net.core.somaxconn).
constexpr int kLastBatches = 128;

}  // namespace

Acceptor::Acceptor(std::vector<Listener> listeners, Callbacks callbacks)
    : listeners_(std::move(listeners)),
      callbacks_(std::move(callbacks)),
      wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      thread_([this] { Run(); }) {}

Acceptor::~Acceptor() {
  Give(Order::kEnd);
  thread_.join();
}

void Acceptor::Resume() { Give(Order::kAccept); }

void Acceptor::Pause() {
  Give(Order::kPause);
  AwaitPause();
}

void Acceptor::LastCall() {
  if (accepting()) Give(Order::kLastCall);
  AwaitPause();
}

void Acceptor::AwaitPause() {
  std::unique_lock lock(mutex_);
  obeyed_.wait(lock, [this] { return state_ == order_ && state_ != Order::kLastCall; });
}

bool Acceptor::accepting() const {
  std::lock_guard lock(mutex_);
  return order_ == Order::kAccept;
}

void Acceptor::Give(Order order) {
  std::lock_guard lock(mutex_);
  order_ = order;
  eventfd_write(wake_.get(), 1);
}

void Acceptor::Run() {
  std::vector<pollfd> watched{{wake_.get(), POLLIN, 0}};
  for (const Listener& listener : listeners_) watched.push_back({listener.fd(), POLLIN, 0});
  for (;;) {
    Order order;
    {
      std::lock_guard lock(mutex_);
      order = state_ = order_;
      obeyed_.notify_all();
    }
    if (order == Order::kEnd) return;
    if (order == Order::kLastCall) {
      // Bounded: whoever comes after these found nobody accepting.
      for (size_t i = 0; i < listeners_.size(); ++i) {
        for (int batches = 0; batches < kLastBatches && !AcceptBatch(i); ++batches) {
        }
      }
      std::lock_guard lock(mutex_);
      if (order_ == Order::kLastCall) order_ = Order::kPause;
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
      if (watched[i].revents != 0) AcceptBatch(i - 1);
    }
  }
}

bool Acceptor::AcceptBatch(size_t listener) {
  for (int i = 0; i < kBatch; ++i) {
    if (!callbacks_.has_room()) {
      BackOff("the limit of connections is reached");
      return true;
    }
    UniqueFd connection(accept4(listeners_[listener].fd(), nullptr, nullptr,
                                SOCK_NONBLOCK | SOCK_CLOEXEC));
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
