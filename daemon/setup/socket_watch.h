// Notices what happens to listening sockets behind the daemon's back.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>

#include <functional>
#include <set>
#include <string>

#include "daemon/setup/listening_sockets.h"

#include <lastcall/base/unique_fd.h>

namespace lastcall {

// Tells of a change in a directory that has a socket's path, and of a socket that was shut down; what it
// was is for the sockets themselves to say (Listener::Fault). Connections that come do not wake it.
// Threads: the loop's.
class SocketWatch {
 public:
  SocketWatch(boost::asio::io_context& loop, std::function<void()> changed);
  ~SocketWatch() { End(); }

  // From now on these, which have to live until the next call or End.
  void Begin(const Sockets& sockets);
  // Order: some time before it is destroyed, or closing waits for the kernel to let go of what was
  // watched, which it does in 5 to 20 ms.
  void End();

 private:
  void Watch(const std::string& directory);
  void Discard();
  void Await();

  boost::asio::io_context& loop_;
  const std::function<void()> changed_;
  // A fresh one each time: a copy of a socket in a host would outlive what it was for.
  boost::asio::posix::stream_descriptor events_;  // an epoll instance
  UniqueFd directories_;                          // inotify, once there was one to watch
  std::set<int> watches_;                         // of directories_
};

}  // namespace lastcall
