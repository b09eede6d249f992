// A new build of lastcalld proves itself before it is executed: a child of it reads the state,
// takes everything over, checks the configuration, says a word that only a build of lastcalld knows
// about this state, and ends.
//
// It is given nothing that matters: in the place of every listening socket, control channel and
// lock is a stand-in, a socket that leads nowhere. Whatever the file is, and whoever it leaves
// behind, takes no connection and no message with it.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "daemon/handover/reexec.h"
#include "daemon/process/child_watch.h"
#include "lastcall/state/v1/state.pb.h"

#include <lastcall/base/clock.h>
#include <lastcall/base/result.h>
#include <lastcall/base/unique_fd.h>
#include <lastcall/child/child_process.h>

namespace lastcall {

// Threads: the loop's.
class ResumeCheck {
 public:
  // Fails: kInvalidArgument, the new build refuses the configuration, with its words; kAborted, it
  // cannot go on from here, with how it ended and its last words, or it said the wrong one.
  using Done = std::function<void(Result<>)>;

  // `limit`: how long the new build may take.
  ResumeCheck(boost::asio::io_context& loop, const ProgramImage& image, Duration limit);
  // The new build is killed.
  ~ResumeCheck();

  // `binary`: the new build; `descriptors`: the numbers that stand in `state`.
  // `done` comes later, from the loop, and may destroy this; not once this is destroyed.
  // Order: once.
  void Begin(int binary, state::v1::State state, const std::vector<int>& descriptors, Done done);

 private:
  Result<ChildProcess> Start(int binary, state::v1::State state,
                             const std::vector<int>& descriptors);
  void BeginTimer();
  std::string Word() const;
  Result<> Judge(const ChildEnd& end) const;

  boost::asio::io_context& loop_;
  const ProgramImage image_;
  const Duration limit_;
  std::optional<ChildWatch> child_;
  boost::asio::steady_timer timer_;
  std::string expected_;  // its word
  UniqueFd proof_;        // where it says it
  UniqueFd stand_in_;     // open as long as the child may write into its other end
  bool late_ = false;
  std::shared_ptr<const Done> done_;  // gone: nothing is answered any more
};

}  // namespace lastcall
