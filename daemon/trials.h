// Trials of plugins in threads of their own, for a loop that must not wait for them.
#pragma once

#include <boost/asio/io_context.hpp>

#include <functional>
#include <list>
#include <string>
#include <thread>
#include <vector>

#include "daemon/trial.h"

namespace lastcall {

// Threads: the loop's.
class Trials {
 public:
  explicit Trials(boost::asio::io_context& loop) : loop_(loop) {}

  // As TryPlugins; `done` runs in the loop, later. Does not block.
  void Begin(Config config, std::vector<std::string> processes, std::string host_program,
             std::function<void(const TrialResult&)> done);
  // Those under way are over in a moment, and know less: for who needs no answer any more.
  void Hurry();
  bool idle() const { return threads_.empty(); }

 private:
  boost::asio::io_context& loop_;
  std::list<std::jthread> threads_;
};

}  // namespace lastcall
