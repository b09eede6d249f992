// A new build of lastcalld proves itself before it is executed: a child of it reads the state, takes
// everything over that it can without touching it, checks the configuration, and ends.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>

#include <array>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "daemon/reexec.h"
#include "daemon/spawn.h"

#include <lastcall/base/clock.h>

namespace lastcall {

// Its exit codes beside 0.
inline constexpr int kCannotResume = 70;
inline constexpr int kBadConfiguration = 78;

// Threads: the loop's.
class ResumeCheck {
 public:
  // Fails: kInvalidArgument, the new build refuses the configuration, with its words; kAborted, it
  // cannot go on from here, with how it ended and its last words.
  using Done = std::function<void(Result<>)>;

  // `done` comes later, from the loop, within `limit`; not once this is destroyed.
  ResumeCheck(boost::asio::io_context& loop, const Self& self, int binary, int state,
              const std::vector<int>& descriptors, Duration limit, Done done);
  ~ResumeCheck();

 private:
  struct Run;
  std::shared_ptr<Run> run_;
};

}  // namespace lastcall
