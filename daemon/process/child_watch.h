// Drives a ChildProcess from the loop: reads what it writes, and hears of its end.
#pragma once

#include <sys/types.h>

#include <boost/asio/io_context.hpp>

#include <functional>
#include <memory>

#include <lastcall/child/child_process.h>

namespace lastcall {

// Threads: the loop's.
class ChildWatch {
 public:
  explicit ChildWatch(boost::asio::io_context& loop) : loop_(loop) {}
  // A child that has not ended goes on; see ~ChildProcess.
  ~ChildWatch();

  // `ended` comes later, from the loop, and may destroy this; not once this is destroyed.
  // Order: once.
  void Begin(ChildProcess child, std::function<void(ChildEnd)> ended);

  // 0: it has not begun, or has ended.
  pid_t pid() const;
  // To hand it over. -1 where pid() is 0.
  int exited_fd() const;
  // With its group, as ChildProcess does; nobody where pid() is 0.
  void Kill();

 private:
  struct Run;

  boost::asio::io_context& loop_;
  std::shared_ptr<Run> run_;
};

}  // namespace lastcall
