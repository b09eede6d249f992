// The end of listening sockets that nobody will accept on any more: newcomers are kept out at once,
// those who wait already have a last call.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include <memory>
#include <set>

#include <lastcall/base/clock.h>
#include <lastcall/net/listener.h>

namespace lastcall {

// Processes do the same to their copies of the sockets, and usually before (Acceptor::BeginEnd); this
// is for one that hangs or is down, and for copies that nobody knows of. What is not the daemon's own
// is left alone: systemd's sockets are shared with it.
// Threads: the loop's.
class EndOfListening {
 public:
  using Listeners = std::set<std::shared_ptr<const Listener>>;

  explicit EndOfListening(boost::asio::io_context& loop) : last_call_(loop) {}
  // Those whose last call is not over are let go, not ended.
  ~EndOfListening() = default;
  EndOfListening(const EndOfListening&) = delete;
  EndOfListening& operator=(const EndOfListening&) = delete;

  // Holds these off, and those of before; ends all of them after the last call, which begins anew.
  void Begin(const Listeners& sockets, Duration last_call);
  // These with the next Begin: until then they are served, as in the delay of a stop.
  void Defer(const Listeners& sockets);
  // Ends what was given so far, now.
  void End();

 private:
  Listeners sockets_;
  boost::asio::steady_timer last_call_;
  // Of the last call in progress: a wait that is over may be told of after the next has begun.
  std::shared_ptr<const char> call_;
};

}  // namespace lastcall
