// Host names, looked up for a loop that must not wait for them.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include <lastcall/base/clock.h>
#include <lastcall/base/result.h>

namespace lastcall {

// The addresses of hosts, or why there are none. See LookUpHost.
using HostNames = std::map<std::string, Result<std::vector<std::string>>>;

// Threads: the loop's. A name service cannot be told to stop, so the thread that asks it belongs to
// nobody: whoever has no more time goes on without it.
class NameLookup {
 public:
  explicit NameLookup(boost::asio::io_context& loop) : loop_(loop), patience_(loop) {}
  ~NameLookup() { Forget(); }
  NameLookup(const NameLookup&) = delete;
  NameLookup& operator=(const NameLookup&) = delete;

  // `done` runs in the loop, later; what is not known after `limit` is not known to it either.
  // Order: one at a time.
  void Begin(std::set<std::string> hosts, Duration limit,
             std::function<void(const HostNames&)> done);
  // The one under way is over in a moment: for who needs no answer any more.
  void Hurry();

 private:
  struct Question;

  void GiveUp(const std::string& why);
  void Answer(const HostNames& names);
  void Forget();

  boost::asio::io_context& loop_;
  boost::asio::steady_timer patience_;
  std::shared_ptr<Question> question_;  // null: none is under way
};

}  // namespace lastcall
