#include "daemon/loop.h"

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>

#include <exception>
#include <utility>

#include <lastcall/base/safe_text.h>

namespace lastcall {

void DaemonLoop::Post(Callback run) { boost::asio::post(context_, std::move(run)); }

Executor DaemonLoop::executor() {
  return [this](Callback run) { Post(std::move(run)); };
}

void DaemonLoop::Run(const std::function<Instant()>& next, const Callback& due) {
  const auto work = boost::asio::make_work_guard(context_);
  while (!ended_) {
    Await(next(), due);
    Guarded([this] { context_.run_one(); });
  }
}

void DaemonLoop::Await(Instant next, const Callback& due) {
  if (next == armed_) return;
  armed_ = next;
  timer_.cancel();
  if (next == kNever) return;
  timer_.expires_at(std::chrono::time_point_cast<std::chrono::steady_clock::duration>(next));
  timer_.async_wait([this, due](const boost::system::error_code& error) {
    if (error) return;
    armed_ = kNever;
    // Behind everything that has happened already: after a pause of this process both are due.
    Post(due);
  });
}

// An exception ends what it concerns: a stop in progress or requested goes on.
bool DaemonLoop::Guarded(const Callback& turn) {
  try {
    turn();
    return true;
  } catch (const std::exception& error) {
    log_(LogLevel::kError, "internal error: " + SafeText(error.what()) + "; the daemon goes on");
    return false;
  }
}

void DaemonLoop::RunReady() {
  while (!Guarded([this] { context_.poll(); })) {
  }
}

}  // namespace lastcall
