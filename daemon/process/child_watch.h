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
  ChildWatch(boost::asio::io_context& loop, ChildProcess child);
  // A child that has not ended goes on; see ~ChildProcess.
  ~ChildWatch();

  // `ended` comes later, from the loop, and may destroy this; not once this is destroyed.
  // Order: once.
  void Begin(std::function<void(ChildEnd)> ended);

  // 0: it has ended.
  pid_t pid() const;
  // To hand it over. -1: it has ended.
  int exited_fd() const;
  // With its group, as ChildProcess does; nobody when it has ended.
  void Kill();

 private:
  struct Run;

  const std::shared_ptr<Run> run_;
};

}  // namespace lastcall
