// A new build of lastcalld proves itself before it is executed: a child of it reads the state,
// takes everything over, checks the configuration, says a word that only a build of lastcalld knows
// about this state, and ends.
//
// It is given nothing that matters: in the place of every listening socket, control channel and
// lock is a stand-in, a socket that leads nowhere. Whatever the file is, and whoever it leaves
// behind, takes no connection and no message with it.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>

#include <array>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "daemon/handover/reexec.h"

#include <lastcall/base/clock.h>
#include <lastcall/base/exit_code.h>
#include <lastcall/child/spawn.h>

namespace lastcall {

// Threads: the loop's.
class ResumeCheck {
 public:
  // Fails: kInvalidArgument, the new build refuses the configuration, with its words; kAborted, it
  // cannot go on from here, with how it ended and its last words, or it said the wrong one.
  using Done = std::function<void(Result<>)>;

  // `descriptors`: the numbers that stand in `state`.
  // `done` comes later, from the loop, within `limit`; not once this is destroyed.
  ResumeCheck(boost::asio::io_context& loop, const Self& self, int binary, state::v1::State state,
              const std::vector<int>& descriptors, Duration limit, Done done);
  ~ResumeCheck();

 private:
  struct Run;
  std::shared_ptr<Run> run_;
};

}  // namespace lastcall
