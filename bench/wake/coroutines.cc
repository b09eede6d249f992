#include <utility>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <lastcall/asio/asio_termination.h>

#include <vector>

#include "event.h"
#include "waiters.h"

namespace wake {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;

// `count` coroutines that wait by `Wait`, in one loop of its own thread.
class Loop {
 public:
  template <class Wait>
  void Start(int count, Wait wait) {
    left_ = count;
    for (int i = 0; i < count; ++i) asio::co_spawn(io_, Coroutine(wait), asio::detached);
    thread_ = std::thread([this] { io_.run(); });
    usleep(20'000);  // until every coroutine waits and the loop sleeps
  }
  ~Loop() {
    if (thread_.joinable()) thread_.join();
  }
  asio::io_context& io() { return io_; }
  lastcall::Instant WaitForLast() {
    all_.Wait();
    return last_;
  }

 private:
  template <class Wait>
  asio::awaitable<void> Coroutine(Wait wait) {
    co_await wait();
    if (--left_ > 0) co_return;
    last_ = Now();
    all_.Set();
  }

  asio::io_context io_;
  int left_ = 0;
  lastcall::Instant last_{};
  Word all_;
  std::thread thread_;
};

class OurCoroutines final : public Waiters {
 public:
  OurCoroutines(int count, From from)
      : event_(from), termination_(loop_.io().get_executor(), event_.view()) {
    loop_.Start(count, [this] {
      return termination_.AsyncReached(lastcall::Stage::kDelay, asio::use_awaitable);
    });
  }
  void Trigger() override { event_.Trigger(); }
  lastcall::Instant WaitForLast() override { return loop_.WaitForLast(); }

 private:
  OurEvent event_;
  Loop loop_;
  lastcall::AsioTermination<asio::io_context::executor_type> termination_;
};

// One eventfd that the loop waits for, and the handlers of the coroutines, called one after
// another.
class BareCoroutines final : public Waiters {
 public:
  BareCoroutines(int count, From from)
      : fd_(loop_.io(), eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
        event_(from, [this] { eventfd_write(fd_.native_handle(), 1); }) {
    fd_.async_wait(asio::posix::stream_descriptor::wait_read, [this](error_code error) {
      for (auto& handler : std::exchange(handlers_, {})) handler(error);
    });
    loop_.Start(count, [this] {
      return asio::async_initiate<const asio::use_awaitable_t<>, void(error_code)>(
          [this](auto handler) { handlers_.push_back(std::move(handler)); }, asio::use_awaitable);
    });
  }
  void Trigger() override { event_.Trigger(); }
  lastcall::Instant WaitForLast() override { return loop_.WaitForLast(); }

 private:
  // What use_awaitable makes of a coroutine; Boost 1.74 has no public name for it.
  using Handler = asio::detail::awaitable_handler<asio::any_io_executor, error_code>;

  Loop loop_;
  asio::posix::stream_descriptor fd_;
  BareEvent event_;
  std::vector<Handler> handlers_;
};

}  // namespace

Scenario Coroutines(int count, From from) {
  return {"coroutines", count, from, [=] { return std::make_unique<OurCoroutines>(count, from); },
          [=] { return std::make_unique<BareCoroutines>(count, from); }};
}

}  // namespace wake
