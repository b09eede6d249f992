// Connections that replaced hosts left behind, kept until their clients find out.
//
// The host has said everything, a last GOAWAY included, and has shut its writing half. A client
// that was asleep reads that when it makes its next call, takes the call elsewhere, and closes its
// end. Were the connection closed before, the call would meet a reset, and what says where to go be
// lost.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>

#include <unordered_map>
#include <vector>

#include <lastcall/base/clock.h>
#include <lastcall/base/unique_fd.h>

namespace lastcall {

// Nothing of what the clients send is read. Threads: the loop's.
class LingeringConnections {
 public:
  struct Pace {
    // gRPC's own clients look at an idle connection every 5 s. One that was stopped, or whose machine
    // has more to do than it can, is late; over a unix socket what it then says meets a broken pipe
    // once the connection is closed, whatever it has yet to read.
    Duration stay = std::chrono::seconds(30);
    // How often it looks whose time is over.
    Duration look = std::chrono::seconds(1);
  };

  LingeringConnections(boost::asio::io_context& loop, Pace pace);
  explicit LingeringConnections(boost::asio::io_context& loop);

  // Takes what is a connection, as long as there is room.
  void Add(std::vector<UniqueFd> connections);
  // Those that are there.
  std::vector<int> fds() const;

 private:
  struct Stay {
    UniqueFd connection;
    Instant until;
  };

  void Forget(int fd);
  void AwaitEnds();
  void AwaitNextLook();

  const Pace pace_;
  const size_t room_;
  boost::asio::posix::stream_descriptor ended_;  // an epoll instance: those the clients have closed
  boost::asio::steady_timer next_look_;
  bool looking_ = false;
  std::unordered_map<int, Stay> connections_;  // by descriptor number
};

}  // namespace lastcall
