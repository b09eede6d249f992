#include "daemon/stop_progress.h"

#include <utility>

namespace lastcall {

StopProgress::StopProgress(boost::asio::io_context& loop, const Clock& clock, Effects effects,
                           Duration refresh)
    : clock_(clock), effects_(std::move(effects)), every_(refresh), timer_(loop) {}

void StopProgress::Begin() {
  if (ended_) return;
  Promise();
  Await();
}

void StopProgress::End() {
  ended_ = true;
  timer_.cancel();
}

void StopProgress::Promise() {
  const Instant now = clock_.Now();
  const Instant end = effects_.end();
  const Instant until = After(end == kNever ? now : end, end == kNever ? kPromise : kAfterwards);
  if (end == kNever ? promised_ - now > kPromise / 2 : until <= promised_) return;
  promised_ = until;
  effects_.promise(until - now);
}

void StopProgress::Await() {
  timer_.expires_after(every_);
  timer_.async_wait([this](const boost::system::error_code& error) {
    // The second: it may have been on its way when the timer was cancelled.
    if (error || ended_) return;
    Promise();
    effects_.refresh();
    Await();
  });
}

}  // namespace lastcall
